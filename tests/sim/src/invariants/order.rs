//! What comes before what.

use super::{ensure, Breach, Scene, Sight};

/// Effects follow the commit of their writes: a crash between the two then repeats an effect and
/// never forgets what it promised.
pub(super) fn effects_follow_their_commit(_: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
    let Sight::Performing { node, effect, is_committed } = sight else { return Ok(()) };
    ensure(*is_committed, &[*node], || format!("before its commit: {effect:?}"))
}
