//! What comes before what.

use node_core::machine::effect::Effect;

use super::{ensure, Breach, Scene, Sight};

/// Effects follow the commit of their writes: a crash between the two then repeats an effect and
/// never forgets what it promised.
pub(super) fn effects_follow_their_commit(_: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Performing { node, effect, is_committed } = sight else { return Ok(()) };
    ensure(*is_committed, &[*node], || format!("before its commit: {effect:?}"))
}

/// A run begins on a GPU only when nothing holds its memory any more, and when it was probed since
/// its node heard of a fault.
pub(super) fn devices_are_sound(scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Performing { node, effect: Effect::StartRun(spec), .. } = sight else {
        return Ok(());
    };
    spec.devices.iter().map(|device| &device.id).try_for_each(|device| {
        let Some(gpu) = scene.hosts[*node].gpu(device) else { return Ok(()) };
        let is_held = gpu.held_until_ms > scene.now_ms;
        let at = &[*node];
        ensure(!is_held, at, || format!("a run begins on {device}, whose memory is held"))?;
        ensure(!gpu.is_in_doubt, at, || format!("a run begins on {device}, which is in doubt"))
    })
}
