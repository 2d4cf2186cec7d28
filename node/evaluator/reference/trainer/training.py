"""The reference trainer: AdamW for any architecture, one step per batch.

The rate rises over the first batches, then falls along half a cosine. Larger models take smaller
steps: the rate goes with the third root of one over the parameters, up to the one that small
models stand. Weights decay, and what scales or shifts does not. The loop, the loss and the clipping
of gradients are the node's.
"""

import math

import torch

RATE_MAX = 6e-3
PARAMETERS_AT_MAX = 400_000
WARMUP_SHARE = 0.03
WARMUP_BATCHES_MIN = 5
LAST_RATE = 0.1
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.01


def peak_rate(model):
    parameters = max(PARAMETERS_AT_MAX, sum(p.numel() for p in model.parameters()))
    return RATE_MAX * (PARAMETERS_AT_MAX / parameters) ** (1 / 3)


def share_of_rate(step, steps):
    warmup = max(WARMUP_BATCHES_MIN, WARMUP_SHARE * steps)
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1.0, steps - warmup))
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def get_recipe(ctx):
    return {"batches": ctx.batches}


def configure_optimizer(model, recipe, ctx):
    weights = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": weights, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups, lr=peak_rate(model), betas=BETAS)
    steps = recipe["batches"]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, steps))
    # The step is the node's, which knows no schedule.
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    return optimizer
