//! How the dashboard is drawn.

use node_core::id::Hotkey;
use node_core::unit::UnixMs;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, LineGauge, Paragraph, Row, Table, Tabs, Wrap};
use ratatui::Frame;

use super::app::{App, Tab};
use crate::status::{
    clock_time, date_time, facts, grouped, micro, progress, said_of, span, standing, CheckStatus,
    DeviceState, DeviceStatus, EventStatus, Found, FoundStatus, NodeHealth, PeerStatus, RunStatus,
    StatusReport, SubmissionStatus,
};

/// Columns of a fact's name.
const NAME_COLUMNS: u16 = 13;

/// Rows of the headline at least, so that the rest stays where it is while little is wrong.
const HEAD_ROWS_MIN: u16 = 2;

/// The part of a window that the headline may have: one of so many. Lower: a page has no room left
/// beside much that is wrong. Higher: of what is wrong, more is counted only.
const HEAD_PART: u16 = 4;

/// Events below the overview.
const EVENTS_SHOWN: u16 = 6;

/// What keys do. Those that matter most come first: a narrow window shows the beginning.
const KEYS: &str = " q leave   tab, 1-5 another page   ↑ ↓ PgUp PgDn Home scroll";

/// Draws the newest report, or why there is none.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, now: UnixMs) {
    let rows_max = (frame.area().height / HEAD_PART).max(HEAD_ROWS_MIN);
    let said = headline(app, now, usize::from(rows_max));
    let head_rows = u16::try_from(said.len()).unwrap_or(rows_max).max(HEAD_ROWS_MIN);
    let [head, tabs, body, foot] = Layout::vertical([
        Constraint::Length(head_rows),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(said), head);
    let titles = Tab::ALL.map(Tab::title);
    let chosen = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Tabs::new(titles).select(app.tab.place()).highlight_style(chosen), tabs);
    frame.render_widget(Line::from(KEYS).dim(), foot);
    app.page = usize::from(body.height.saturating_sub(1)).max(1);
    let Some(found) = app.found.take() else { return };
    let report = &found.report;
    match app.tab {
        Tab::Overview => overview(frame, body, report),
        Tab::Submissions => table(frame, body, app, submissions(report)),
        Tab::Leases => table(frame, body, app, leases(report)),
        Tab::Peers => table(frame, body, app, peers(report)),
        Tab::Events => table(frame, body, app, events(report)),
    }
    app.found = Some(found);
}

/// How the node stands, then what is wrong and what may be soon: at most so many lines.
fn headline(app: &App, now: UnixMs, lines_max: usize) -> Vec<Line<'static>> {
    let Some(found) = &app.found else {
        let said = app.failure.clone().unwrap_or_else(|| "looking for the node".to_owned());
        return vec![Line::from(said)];
    };
    let failure = app.failure.clone().map(Line::from);
    let problems: Vec<Line<'_>> = failure.into_iter().chain(problems(found, now)).collect();
    let problems = fitting(problems, lines_max.saturating_sub(1));
    std::iter::once(standing_line(found, now)).chain(problems).collect()
}

fn standing_line(found: &FoundStatus, now: UnixMs) -> Line<'static> {
    let (word, style) = word(found, now);
    let report = &found.report;
    let up = span(report.as_of.0.saturating_sub(report.node.started_at.0));
    let as_of = match found.found {
        Found::Running => format!("  as of {}, up {up}", clock_time(report.as_of)),
        Found::NotRunning | Found::NotAnswering { .. } => {
            let age = span(report.age_ms(now));
            format!("  snapshot of {}, {age} ago", date_time(report.as_of))
        }
    };
    Line::from(vec![Span::styled(format!(" {word} "), style), Span::raw(as_of)])
}

/// What is wrong, the most important first, and what may be soon.
fn problems(found: &FoundStatus, now: UnixMs) -> Vec<Line<'static>> {
    let report = &found.report;
    // Of a node that is gone: what was wrong then.
    let at = if found.found == Found::Running { now } else { report.as_of };
    let warning = |check: &CheckStatus| Line::from(format!("warning: {}", check.said())).yellow();
    let wrong = report.wrong_at(at).into_iter().map(Line::from);
    wrong.chain(report.warnings().map(warning)).collect()
}

/// As many of the lines as fit, and how many do not.
fn fitting(mut lines: Vec<Line<'static>>, lines_max: usize) -> Vec<Line<'static>> {
    let all = lines.len();
    if all <= lines_max {
        return lines;
    }
    // The first one is shown in any case.
    let kept = lines_max.saturating_sub(1).max(1);
    lines.truncate(kept);
    if lines_max > kept {
        lines.push(Line::from(format!("and {} more: `assay status` has all", all - kept)));
    } else if let Some(only) = lines.first_mut() {
        only.spans.insert(0, Span::raw(format!("1 of {all}: ")));
    }
    lines
}

/// The word, and a colour for those who see one.
fn word(found: &FoundStatus, now: UnixMs) -> (String, Style) {
    let health = found.health(now);
    let is_stopping = found.report.node.is_stopping && health < NodeHealth::Unsafe;
    let word = if is_stopping { "STOPPING".to_owned() } else { health.name().to_uppercase() };
    let colour = match health {
        NodeHealth::Healthy => Color::Green,
        NodeHealth::Degraded => Color::Yellow,
        NodeHealth::Unsafe => Color::Red,
        NodeHealth::Unreachable => Color::Gray,
    };
    (word, Style::new().bg(colour).fg(Color::Black).add_modifier(Modifier::BOLD))
}

fn overview(frame: &mut Frame<'_>, area: Rect, report: &StatusReport) {
    let facts: Vec<Line<'_>> = facts(report)
        .into_iter()
        .map(|(name, text)| {
            let width = usize::from(NAME_COLUMNS);
            Line::from(vec![Span::from(format!("{name:<width$}")).bold(), Span::from(text)])
        })
        .collect();
    let count = u16::try_from(facts.len()).unwrap_or(u16::MAX);
    let devices = u16::try_from(report.devices.len()).unwrap_or(u16::MAX);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Max(count),
        Constraint::Max(devices.saturating_add(1)),
        Constraint::Max(EVENTS_SHOWN + 1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(facts), top);
    let block = Block::new().title("devices".bold());
    let inner = block.inner(middle);
    frame.render_widget(block, middle);
    for (row, device) in (0..inner.height).zip(&report.devices) {
        let line = Rect { y: inner.y + row, height: 1, ..inner };
        frame.render_widget(gauge(device, report), line);
    }
    let latest = report.events.iter().rev().take(usize::from(EVENTS_SHOWN)).map(event_line);
    let latest: Vec<Line<'_>> = latest.collect();
    let block = Block::new().title("latest".bold());
    frame.render_widget(Paragraph::new(latest).block(block), bottom);
}

/// A device with how far the run on it is.
fn gauge<'a>(device: &'a DeviceStatus, report: &'a StatusReport) -> LineGauge<'a> {
    let run = report.runs.iter().find(|run| Some(run.run) == device.run);
    let said = run.map_or_else(|| standing(device), |run| progress(run, report.as_of));
    let label = format!("{}  {}  {said}", device.id, device.label);
    let colour = match device.state() {
        DeviceState::Running | DeviceState::Free => Color::Cyan,
        DeviceState::NotUsed => Color::Gray,
        DeviceState::Unusable | DeviceState::Gone => Color::Red,
    };
    LineGauge::default()
        .ratio(run.map_or(0.0, ratio))
        .label(label)
        // Thick, for those who see no colours.
        .filled_symbol(symbols::line::THICK_HORIZONTAL)
        .filled_style(Style::new().fg(colour))
        .unfilled_style(Style::new().fg(Color::DarkGray))
}

/// The part that is done, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a bar of some hundred columns")]
fn ratio(run: &RunStatus) -> f64 {
    let Some(progress) = run.progress.filter(|progress| progress.total_bytes > 0) else {
        return 0.0;
    };
    (progress.covered_bytes as f64 / progress.total_bytes as f64).clamp(0.0, 1.0)
}

fn event_line(event: &EventStatus) -> Line<'static> {
    let kind = event.kind.replace('_', " ");
    let text = format!("{}  {kind}  {}", clock_time(event.at), event.text);
    let line = Line::from(text);
    if event.is_warning {
        line.yellow()
    } else {
        line
    }
}

/// Rows of text under a header, and how wide their columns are.
struct Rows {
    header: Vec<&'static str>,
    widths: Vec<Constraint>,
    rows: Vec<Vec<String>>,
}

/// A table from the row on to which it is scrolled; never past the last one.
fn table(frame: &mut Frame<'_>, area: Rect, app: &mut App, rows: Rows) {
    let Rows { header, widths, rows } = rows;
    if rows.is_empty() {
        frame.render_widget(Paragraph::new("nothing").dim().wrap(Wrap::default()), area);
        return;
    }
    app.scrolled = app.scrolled.min(rows.len().saturating_sub(app.page));
    let header = Row::new(header.into_iter().map(Cell::from)).bold();
    let shown = rows.into_iter().skip(app.scrolled).map(Row::new);
    frame.render_widget(Table::new(shown, widths).header(header).column_spacing(2), area);
}

fn submissions(report: &StatusReport) -> Rows {
    let row = |row: &SubmissionStatus| {
        let bpb = row.metrics.and_then(|metrics| metrics.train_microbpb);
        vec![
            row.id.short(),
            row.hotkey.short(),
            grouped(row.committed_at.0),
            row.stage.name().to_owned(),
            row.points.map(grouped).unwrap_or_default(),
            bpb.map(micro).unwrap_or_default(),
            said_of(row),
        ]
    };
    Rows {
        header: vec!["submission", "miner", "block", "stage", "points", "bpb", ""],
        widths: [10, 8, 10, 9, 13, 7]
            .into_iter()
            .map(Constraint::Length)
            .chain([Constraint::Fill(1)])
            .collect(),
        rows: report.submissions.iter().map(row).collect(),
    }
}

fn leases(report: &StatusReport) -> Rows {
    let replicas = report.evaluations.iter().flat_map(|evaluation| {
        evaluation.explanation.replicas.iter().map(|replica| (evaluation.submission, replica))
    });
    let rows = replicas.map(|(submission, replica)| {
        vec![
            replica.assignment.short(),
            submission.short(),
            replica.replica.to_string(),
            replica.attempt.to_string(),
            replica.holder.as_ref().map(Hotkey::short).unwrap_or_default(),
            replica.state.clone(),
        ]
    });
    Rows {
        header: vec!["assignment", "submission", "replica", "attempt", "holder", "state"],
        widths: [10, 10, 7, 7, 8]
            .into_iter()
            .map(Constraint::Length)
            .chain([Constraint::Fill(1)])
            .collect(),
        rows: rows.collect(),
    }
}

fn peers(report: &StatusReport) -> Rows {
    let row = |peer: &PeerStatus| {
        let ago = |at: UnixMs| format!("{} ago", span(report.as_of.0.saturating_sub(at.0)));
        vec![
            peer.hotkey.short(),
            peer.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
            peer.endpoint.map_or_else(|| "not published".to_owned(), |at| at.to_string()),
            peer.last_answer_at.map_or_else(|| "never".to_owned(), ago),
            peer.why_silent().to_owned(),
        ]
    };
    Rows {
        header: vec!["peer", "uid", "endpoint", "last answer", ""],
        widths: [8, 5, 22, 14]
            .into_iter()
            .map(Constraint::Length)
            .chain([Constraint::Fill(1)])
            .collect(),
        rows: report.peers.iter().filter(|peer| !peer.is_self).map(row).collect(),
    }
}

fn events(report: &StatusReport) -> Rows {
    let row = |event: &EventStatus| {
        vec![clock_time(event.at), event.kind.replace('_', " "), event.text.clone()]
    };
    Rows {
        header: vec!["at", "what", ""],
        widths: vec![Constraint::Length(9), Constraint::Length(24), Constraint::Fill(1)],
        rows: report.events.iter().rev().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;
    use ratatui::Terminal;

    use super::*;
    use crate::status::sample;

    fn picture(app: &mut App, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let now = UnixMs(sample::healthy().as_of.0 + 1_000);
        terminal.draw(|frame| draw(frame, app, now)).unwrap();
        terminal.backend().to_string()
    }

    fn app(report: StatusReport, tab: Tab) -> App {
        App { found: Some(FoundStatus { report, found: Found::Running }), tab, ..App::default() }
    }

    #[test]
    fn the_overview_shows_facts_runs_and_the_latest_events() {
        let mut app = app(sample::healthy(), Tab::Overview);
        insta::assert_snapshot!(picture(&mut app, (110, 32)));
    }

    /// The lines above the pages.
    fn head(report: StatusReport, height: u16) -> Vec<String> {
        let text = picture(&mut app(report, Tab::Events), (110, height));
        let lines = text.lines().map(|line| line.trim_matches('"').trim_end().to_owned());
        lines.take_while(|line| !line.starts_with(" 1 overview")).collect()
    }

    #[test]
    fn everything_that_is_wrong_or_may_be_soon_stands_at_the_top_on_every_page() {
        let said = head(sample::degraded(), 32);
        assert!(said[0].starts_with(" DEGRADED   as of "), "{said:?}");
        let wrong = [
            "last update in block 4811387, 2.61 tempos ago (943 blocks)",
            "no new finalized block for 171 s (limit 120 s)",
            "the container engine does not answer",
            "stake: stake 4 rao, threshold 10 rao: 6 rao are missing",
            "warning: beacon: the chain's newest round is 27, 100 rounds (5.0 min) behind",
        ];
        assert_eq!(said[1..], wrong);
    }

    #[test]
    fn what_has_no_room_at_the_top_is_counted() {
        let rows = [(20, 5, "and 2 more: `assay status` has all"), (12, 3, "and 4 more: ")];
        for (height, lines, last) in rows {
            let said = head(sample::degraded(), height);
            assert_eq!(said.len(), lines, "{said:?}");
            assert!(said[lines - 1].starts_with(last), "{said:?}");
            assert!(said[1].starts_with("last update in block "), "{said:?}");
        }
        let said = head(sample::degraded(), 8);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[1].starts_with("1 of 5: last update in block "), "{said:?}");
    }

    #[test]
    fn a_page_stays_where_it_is_while_one_thing_at_most_is_wrong() {
        for report in [sample::healthy(), sample::starting()] {
            let said = head(report, 32);
            assert_eq!(said.len(), 2, "{said:?}");
        }
    }

    #[test]
    fn a_device_that_takes_no_run_is_not_called_free() {
        let mut report = sample::healthy();
        report.devices.extend([sample::unused_gpu(), sample::gone_gpu()]);
        let text = picture(&mut app(report, Tab::Overview), (150, 40));
        for said in [
            "cpu-1  CPU slot  free ",
            "NVIDIA H100 80GB HBM3  not used: is a gpu, a cpu_slot is needed ",
            "NVIDIA H100 80GB HBM3  gone since 2026-03-04 10:01:31Z; it was ",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn every_page_is_drawn_in_any_window() {
        for tab in Tab::ALL {
            for report in [sample::healthy(), sample::degraded(), sample::starting()] {
                for size in [(1, 1), (20, 3), (39, 10), (110, 32), (300, 100)] {
                    picture(&mut app(report.clone(), tab), size);
                }
            }
        }
    }

    #[test]
    fn a_table_is_not_scrolled_past_its_end() {
        let mut app = app(sample::healthy(), Tab::Submissions);
        app.scrolled = 999;
        let text = picture(&mut app, (110, 10));
        assert_eq!(app.scrolled, 0);
        assert!(text.contains("waits for 2 results that agree"), "{text}");
    }

    #[test]
    fn a_node_that_went_away_leaves_its_last_report_and_why() {
        let mut app = app(sample::healthy(), Tab::Overview);
        app.failure = Some("none has run with this data directory".to_owned());
        let text = picture(&mut app, (110, 32));
        assert!(text.contains("none has run with this data directory"), "{text}");
        assert!(text.contains("epoch 13 367 landed"), "{text}");
    }
}
