//! The door to NVML, the driver's management library. It may be missing where the driver is not.
//!
//! - [`open`]: the library, loaded and started once for everybody who holds it.
//! - [`describe`]: what it says about one GPU, its slices and its links.
//! - [`said`], [`read`]: its errors as ours.
//!
//! Not here: sensors (`sensors`) and events (`events`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use node_core::health::observation::Reading;
use node_core::inventory::{DeviceId, Nearness};
use node_core::limits::clip_detail;
use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use nvml_wrapper::error::{nvml_try, NvmlError};
use nvml_wrapper::{Device, Nvml};

/// Longest version text kept.
const VERSION_CHARS_MAX: usize = 40;

/// NVLinks of one GPU. NVML has no call for how many there are; this is its own bound.
const LINKS_MAX: u32 = 18;

/// Slices of one GPU. NVIDIA's have seven; lower than that hides some.
const SLICES_MAX: u32 = 16;

/// NUMA nodes of one machine, in words of as many bits as a `c_ulong` has. Lower: a GPU at a node
/// beyond is at none.
const NUMA_WORDS: usize = 4;

static SHARED: Mutex<Weak<Nvml>> = Mutex::new(Weak::new());

/// The library. It stays loaded for as long as somebody holds it.
pub(crate) fn open() -> Result<Arc<Nvml>, NvmlError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(nvml) = shared.upgrade() {
        return Ok(nvml);
    }
    let nvml = Arc::new(Nvml::init()?);
    *shared = Arc::downgrade(&nvml);
    Ok(nvml)
}

/// The driver's version, for example `570.86.15`; `None` if the library does not say.
pub(crate) fn driver_version(nvml: &Nvml) -> Option<String> {
    let version = nvml.sys_driver_version().ok()?;
    Some(version.chars().filter(|c| !c.is_control()).take(VERSION_CHARS_MAX).collect())
}

/// Names the question and what was answered.
pub(crate) fn said(question: &str, error: &NvmlError) -> String {
    clip_detail(&format!("{question}: {error}"))
}

/// Whether the error says that there is no such thing to ask for: the device has none, or the
/// driver is older than the question.
pub(crate) fn is_unsupported(error: &NvmlError) -> bool {
    use NvmlError::{FailedToLoadSymbol, FunctionNotFound, NotSupported};
    matches!(error, NotSupported | FunctionNotFound | FailedToLoadSymbol(_))
}

/// A sensor's answer. Only a sensor that is not there is no fault.
pub(crate) fn read<T>(question: &str, answer: Result<T, NvmlError>) -> Reading<T> {
    match answer {
        Ok(value) => Reading::Value(value),
        Err(error) if is_unsupported(&error) => Reading::Unsupported,
        Err(error) => Reading::Unreadable { detail: said(question, &error) },
    }
}

/// A GPU as NVML describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: DeviceId,
    pub(crate) name: String,
    pub(crate) memory_mib: u64,
    pub(crate) compute_capability: (u32, u32),
    pub(crate) pci_address: Option<String>,
    pub(crate) numa_node: Option<u32>,
    pub(crate) links: Links,
    /// `None` if it is whole.
    pub(crate) slices: Option<Vec<FoundSlice>>,
    /// What is wrong with slices that are not among those.
    pub(crate) slice_faults: Vec<String>,
}

/// A MIG slice as NVML describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundSlice {
    pub(crate) id: DeviceId,
    pub(crate) name: String,
    pub(crate) memory_mib: u64,
    pub(crate) gpu_instance: u32,
    pub(crate) compute_instance: u32,
}

/// A GPU's NVLinks that are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// To other GPUs, by their PCI address.
    pub(crate) direct: BTreeMap<String, u8>,
    /// To switches, which join all GPUs that have such links.
    pub(crate) switched: u8,
}

/// What NVML says about the GPU at `index`.
///
/// # Errors
///
/// In words, if what every GPU has cannot be read. Where it sits may be unknown.
pub(crate) fn describe(nvml: &Nvml, index: u32) -> Result<Found, String> {
    let device =
        nvml.device_by_index(index).map_err(|error| said("nvmlDeviceGetHandleByIndex", &error))?;
    let uuid = device.uuid().map_err(|error| said("nvmlDeviceGetUUID", &error))?;
    let name = device.name().map_err(|error| said("nvmlDeviceGetName", &error))?;
    let memory =
        device.memory_info().map_err(|error| said("nvmlDeviceGetMemoryInfo_v2", &error))?;
    let capability = device
        .cuda_compute_capability()
        .map_err(|error| said("nvmlDeviceGetCudaComputeCapability", &error))?;
    let slices = slices(nvml, &device)?;
    let (slices, slice_faults) =
        slices.map_or((None, Vec::new()), |(found, faults)| (Some(found), faults));
    Ok(Found {
        id: DeviceId(clip_detail(&uuid)),
        name: clip_detail(&name),
        memory_mib: memory.total >> 20,
        compute_capability: (
            u32::try_from(capability.major).unwrap_or_default(),
            u32::try_from(capability.minor).unwrap_or_default(),
        ),
        pci_address: device.pci_info().ok().map(|pci| address(&pci.bus_id)),
        numa_node: numa_node(&device),
        links: links(nvml, &device),
        slices,
        slice_faults,
    })
}

/// As `nvidia-smi` prints it.
fn address(bus_id: &str) -> String {
    clip_detail(&bus_id.to_ascii_uppercase())
}

fn numa_node(device: &Device<'_>) -> Option<u32> {
    // The scope 0 is the node itself, not its whole socket.
    let words = device.memory_affinity(NUMA_WORDS, 0).ok()?;
    let (word, bits) = (0_u32..).zip(words).find(|(_, bits)| *bits != 0)?;
    Some(word * std::ffi::c_ulong::BITS + bits.trailing_zeros())
}

fn links(nvml: &Nvml, device: &Device<'_>) -> Links {
    let mut links = Links::default();
    for number in 0..LINKS_MAX {
        let link = device.link_wrapper_for(number);
        match link.is_active() {
            Ok(true) => {}
            Ok(false) => continue,
            // No NVLink at all, or none with such a number.
            Err(_) => break,
        }
        if ends_at_switch(nvml, device, number) {
            links.switched += 1;
        } else if let Ok(remote) = link.remote_pci_info() {
            *links.direct.entry(address(&remote.bus_id)).or_default() += 1;
        }
    }
    links
}

/// nvml-wrapper's own function for this throws the answer away.
#[allow(unsafe_code, reason = "a call that nvml-wrapper does not make rightly")]
fn ends_at_switch(nvml: &Nvml, device: &Device<'_>, link: u32) -> bool {
    const SWITCH: u32 = 2;
    let Ok(question) = nvml.lib().nvmlDeviceGetNvLinkRemoteDeviceType.as_ref() else {
        return false;
    };
    let mut kind = 0;
    // SAFETY: the function as NVML declares it, a handle from the library that is loaded, and a
    // variable of ours to write to.
    let answer = unsafe { nvml_try(question(device.handle(), link, &mut kind)) };
    answer.is_ok() && kind == SWITCH
}

/// A GPU's slices, and what is wrong with others; `None` if the GPU is whole.
type Slices = Option<(Vec<FoundSlice>, Vec<String>)>;

fn slices(nvml: &Nvml, device: &Device<'_>) -> Result<Slices, String> {
    const IS_ON: u32 = 1;
    match device.mig_mode() {
        Ok(mode) if mode.current == IS_ON => {}
        Ok(_) => return Ok(None),
        Err(error) if is_unsupported(&error) => return Ok(None),
        Err(error) => return Err(said("nvmlDeviceGetMigMode", &error)),
    }
    let places = device
        .mig_device_count()
        .map_err(|error| said("nvmlDeviceGetMaxMigDeviceCount", &error))?;
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for place in 0..places.min(SLICES_MAX) {
        let described = match device.mig_device_by_index(place) {
            Ok(slice) => describe_slice(nvml, &slice),
            // An empty place.
            Err(NvmlError::NotFound | NvmlError::InvalidArg) => continue,
            Err(error) => Err(said("nvmlDeviceGetMigDeviceHandleByIndex", &error)),
        };
        match described {
            Ok(slice) => found.push(slice),
            Err(detail) => faults.push(format!("slice {place}: {detail}")),
        }
    }
    Ok(Some((found, faults)))
}

fn describe_slice(nvml: &Nvml, slice: &Device<'_>) -> Result<FoundSlice, String> {
    let uuid = slice.uuid().map_err(|error| said("nvmlDeviceGetUUID of a slice", &error))?;
    let name = slice.name().map_err(|error| said("nvmlDeviceGetName of a slice", &error))?;
    let memory = slice
        .memory_info()
        .map_err(|error| said("nvmlDeviceGetMemoryInfo_v2 of a slice", &error))?;
    let (gpu_instance, compute_instance) =
        instances(nvml, slice).map_err(|error| said("the instances of a slice", &error))?;
    Ok(FoundSlice {
        id: DeviceId(clip_detail(&uuid)),
        name: clip_detail(&name),
        memory_mib: memory.total >> 20,
        gpu_instance,
        compute_instance,
    })
}

#[allow(unsafe_code, reason = "calls that nvml-wrapper does not offer")]
fn instances(nvml: &Nvml, slice: &Device<'_>) -> Result<(u32, u32), NvmlError> {
    let of_gpu = nvml_wrapper::error::nvml_sym(nvml.lib().nvmlDeviceGetGpuInstanceId.as_ref())?;
    let of_compute =
        nvml_wrapper::error::nvml_sym(nvml.lib().nvmlDeviceGetComputeInstanceId.as_ref())?;
    let (mut gpu, mut compute) = (0, 0);
    // SAFETY: the functions as NVML declares them, a handle from the library that is loaded, and
    // variables of ours to write to.
    unsafe {
        nvml_try(of_gpu(slice.handle(), &mut gpu))?;
        nvml_try(of_compute(slice.handle(), &mut compute))?;
    }
    Ok((gpu, compute))
}

/// How near the GPU at `index` is to those at `others`, by the paths over PCIe. What the driver
/// does not know is left out.
pub(crate) fn nearness(nvml: &Nvml, index: u32, others: &[u32]) -> BTreeMap<u32, Nearness> {
    let ask = |other: u32| {
        let here = nvml.device_by_index(index).ok()?;
        let there = nvml.device_by_index(other).ok()?;
        Some(match here.topology_common_ancestor(there).ok()? {
            TopologyLevel::Internal => Nearness::Board,
            TopologyLevel::Single | TopologyLevel::Multiple => Nearness::Switch,
            TopologyLevel::HostBridge => Nearness::HostBridge,
            TopologyLevel::Node => Nearness::Numa,
            TopologyLevel::System => Nearness::System,
        })
    };
    others.iter().filter_map(|other| Some((*other, ask(*other)?))).collect()
}
