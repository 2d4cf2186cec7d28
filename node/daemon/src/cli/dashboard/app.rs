//! What the dashboard shows, and what keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::status::{FoundStatus, NotFound};

/// What is shown below the headline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    /// Facts, devices with what runs on them, and the latest events.
    #[default]
    Overview,
    /// Submissions and what they wait for.
    Submissions,
    /// Who has which lease.
    Leases,
    /// Other validators.
    Peers,
    /// What happened lately.
    Events,
}

impl Tab {
    pub(super) const ALL: [Self; 5] =
        [Self::Overview, Self::Submissions, Self::Leases, Self::Peers, Self::Events];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Overview => "1 overview",
            Self::Submissions => "2 submissions",
            Self::Leases => "3 leases",
            Self::Peers => "4 peers",
            Self::Events => "5 events",
        }
    }

    pub(super) fn place(self) -> usize {
        Self::ALL.iter().position(|tab| *tab == self).unwrap_or_default()
    }

    fn step(self, by: usize) -> Self {
        let place = (self.place() + by) % Self::ALL.len();
        Self::ALL.get(place).copied().unwrap_or_default()
    }
}

/// Whether the dashboard goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    Stay,
    /// It was asked to end.
    Leave,
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct App {
    /// The latest report; `None` before the first look.
    pub(super) found: Option<FoundStatus>,
    /// Why there is none at the moment.
    pub(super) failure: Option<String>,
    pub(super) tab: Tab,
    /// Lines that are scrolled away; the view keeps it within what there is.
    pub(super) scrolled: usize,
    /// Lines of the last picture, by which a page is turned.
    pub(super) page: usize,
}

impl App {
    /// Takes in a look at the node. One that failed leaves the last report, and says why.
    pub(super) fn seen(&mut self, look: Result<FoundStatus, NotFound>) {
        match look {
            Ok(found) => (self.found, self.failure) = (Some(found), None),
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    pub(super) fn pressed(&mut self, key: KeyEvent) -> Next {
        let is_interrupt =
            key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if is_interrupt => return Next::Leave,
            KeyCode::Char('q') | KeyCode::Esc => return Next::Leave,
            KeyCode::Tab | KeyCode::Right => self.open(self.tab.step(1)),
            KeyCode::BackTab | KeyCode::Left => self.open(self.tab.step(Tab::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='5') => {
                let place = digit.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.open(Tab::ALL.get(place).copied().unwrap_or_default());
            }
            KeyCode::Down | KeyCode::Char('j') => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_add(self.page),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(self.page),
            KeyCode::Home => self.scrolled = 0,
            _ => {}
        }
        Next::Stay
    }

    fn open(&mut self, tab: Tab) {
        (self.tab, self.scrolled) = (tab, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(app: &mut App, code: KeyCode) -> Next {
        app.pressed(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn digits_and_tabs_open_what_they_say_and_go_round() {
        let mut app = App::default();
        for (place, tab) in Tab::ALL.into_iter().enumerate() {
            let digit = char::from_digit(u32::try_from(place).unwrap() + 1, 10).unwrap();
            press(&mut app, KeyCode::Char(digit));
            assert_eq!(app.tab, tab);
            assert!(tab.title().starts_with(digit));
        }
        press(&mut app, KeyCode::Tab);
        assert_eq!(app.tab, Tab::Overview);
        press(&mut app, KeyCode::Left);
        assert_eq!(app.tab, Tab::Events);
    }

    #[test]
    fn a_table_is_scrolled_by_lines_and_pages_and_starts_anew_on_another_tab() {
        let mut app = App { page: 10, ..App::default() };
        press(&mut app, KeyCode::Up);
        assert_eq!(app.scrolled, 0);
        press(&mut app, KeyCode::PageDown);
        press(&mut app, KeyCode::Char('j'));
        assert_eq!(app.scrolled, 11);
        press(&mut app, KeyCode::Tab);
        assert_eq!(app.scrolled, 0);
    }

    #[test]
    fn q_escape_and_an_interrupt_leave_and_nothing_else_does() {
        let mut app = App::default();
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut app, code), Next::Leave);
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.pressed(interrupt), Next::Leave);
        for code in [KeyCode::Char('c'), KeyCode::Enter, KeyCode::F(1)] {
            assert_eq!(press(&mut app, code), Next::Stay);
        }
    }
}
