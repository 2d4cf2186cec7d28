//! What a validator tells about a submission, as far as it is shown. Validators have other versions
//! than this program: what one does not tell is left out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /v1/submissions?hotkey=`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submissions {
    pub(super) submissions: Vec<Submission>,
}

/// `GET /v1/submissions/{id}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submission {
    pub(super) id: String,
    pub(super) hotkey: String,
    pub(super) committed_at: u64,
    pub(super) code_hash: String,
    pub(super) status: String,
    pub(super) detail: String,
    pub(super) tier: Option<u8>,
    pub(super) passage: Option<String>,
    pub(super) evidence: Option<Evidence>,
    pub(super) flags: Vec<Evidence>,
    pub(super) final_score: Option<f64>,
    pub(super) score_tier: Option<u8>,
    pub(super) queue: Option<Queue>,
    pub(super) review: Option<Review>,
    pub(super) evaluation: Option<String>,
    pub(super) runs: Vec<Run>,
    pub(super) trials: Vec<Trial>,
    pub(super) metrics: Option<Metrics>,
    pub(super) evaluated_by: Vec<String>,
    pub(super) results_required: u32,
    pub(super) put_away_at: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Evidence {
    pub(super) rule: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) snippet: Option<String>,
    pub(super) detail: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Review {
    pub(super) model: String,
    pub(super) opinion: String,
    pub(super) reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Queue {
    pub(super) position: u64,
    pub(super) length: u64,
    pub(super) moved: Option<Moved>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Moved {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) because: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) tier: u8,
    pub(super) unit: u8,
    pub(super) state: String,
    pub(super) progress: Option<Progress>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    pub(super) phase: String,
    pub(super) covered_bytes: u64,
    pub(super) total_bytes: u64,
    pub(super) bits_per_byte: Option<f64>,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) remaining_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trial {
    pub(super) tier: u8,
    pub(super) unit: u8,
    pub(super) verdict: String,
    pub(super) score: Option<f64>,
    pub(super) ending: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metrics {
    pub(super) bits_per_byte: Option<f64>,
    pub(super) heldout_bits_per_byte: f64,
    pub(super) heldout_bits_per_byte_untrained: f64,
    pub(super) covered_bytes: u64,
    pub(super) parameters: u64,
    pub(super) idle_parameters: Option<u64>,
    pub(super) peak_device_bytes: u64,
    pub(super) hooks_used: BTreeMap<String, u32>,
    pub(super) flags: Vec<String>,
    pub(super) loss_curve: Vec<f64>,
}
