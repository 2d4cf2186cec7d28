/* A GPU driver for tests. What it does is in the variable ASSAY_FAKE_GPU. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int plays(const char *role) {
    const char *now = getenv("ASSAY_FAKE_GPU");
    return now && strcmp(now, role) == 0;
}

int cuInit(unsigned flags) {
    (void)flags;
    if (plays("hangs")) for (;;) pause();
    if (plays("init_fails")) return 999;    /* CUDA_ERROR_UNKNOWN */
    if (plays("mismatch")) return 803;      /* CUDA_ERROR_SYSTEM_DRIVER_MISMATCH */
    if (plays("no_device")) return 100;     /* CUDA_ERROR_NO_DEVICE */
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = plays("none") ? 0 : 2;
    return 0;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

#ifndef WITHOUT_UUID
int cuDeviceGetUuid(void *uuid, int device) {
    memset(uuid, 0xf0 + device, 16);
    return 0;
}
#endif

int cuDeviceGetName(char *name, int len, int device) {
    if ((plays("one_dead") && device == 0) || plays("all_dead")) return 719; /* LAUNCH_FAILED */
    strncpy(name, "Test GPU 80GB", (size_t)len);
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = ((size_t)80 << 30) + (size_t)device + 5;
    return 0;
}
