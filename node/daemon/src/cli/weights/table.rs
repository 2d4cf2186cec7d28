//! How the commands print: tables without lines, and blocks and forms in a few words.

use comfy_table::Table;
use node_core::id::Uid;
use node_core::rows::{Carries, IntentState};
use node_core::unit::BlockNumber;

use crate::status::grouped;

/// Two spaces between columns, no lines.
pub(super) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Twelve characters of name, then the text.
pub(super) fn line(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("{name:<12}{text}\n"));
}

/// A height with its digits in groups, or a dash.
pub(super) fn block(block: Option<BlockNumber>) -> String {
    block.map_or_else(|| "-".to_owned(), |block| grouped(block.0))
}

/// The public name of a form.
pub(super) fn form_name(carries: &Carries) -> &'static str {
    match carries {
        Carries::Plain => "plain",
        Carries::Timelocked { .. } => "timelock",
        Carries::Hashed { .. } => "hash",
        Carries::Reveal => "reveal",
    }
}

/// Why a vector ended as it did, where the state alone does not say.
pub(super) fn state_detail(state: &IntentState) -> String {
    match state {
        IntentState::Open
        | IntentState::Signed
        | IntentState::Landed { .. }
        | IntentState::Committed { .. }
        | IntentState::Revealed { .. } => String::new(),
        IntentState::Lost { reason } | IntentState::Abandoned { reason } => reason.clone(),
    }
}

/// Entries above zero.
pub(super) fn entries(vector: &[(Uid, u16)]) -> usize {
    vector.iter().filter(|(_, weight)| *weight > 0).count()
}
