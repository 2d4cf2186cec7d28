//! `/livez`: the process answers.

pub(super) async fn livez() -> &'static str {
    "live\n"
}
