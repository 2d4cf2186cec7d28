//! Chromium without a window, as a process: what people see who open a page, and what the page
//! tells those who do not see it.
//!
//! - Where it comes from: Debian's packages `chromium` and `chromium-driver`, which
//!   `scripts/prepare --for tests` installs.
//! - How it is asked: over WebDriver for what a person does, and over the browser's own protocol,
//!   by way of the driver, for what no person does: another theme, another screen, no scripts.
//! - What is left of it: screenshots, see [`screenshots`]. The driver and its browsers are one
//!   group of processes and are killed together; profiles and temporary files are in the caller's
//!   folder.
//!
//! Not here: what is wanted of a page (`main.rs`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context as _};
use base64::Engine as _;
use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::error::CmdError;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{json, Value};
use tokio::process::Command;
use tokio::time::Instant;
use url::{ParseError, Url};

pub(crate) use fantoccini::key::Key;

use assay_tests::binaries::binary;
use assay_tests::process::Process;

/// How long the driver may take until it listens.
const START_MAX: Duration = Duration::from_secs(60);
/// How often its log is looked at until then.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a click may find its element replaced each time.
const CLICK_MAX: Duration = Duration::from_secs(10);

/// What the browser is started with.
const SWITCHES: [&str; 6] = [
    "--headless=new",
    // Root may run it, and no page but the node's own is opened.
    "--no-sandbox",
    "--disable-gpu",
    // Containers have little of it.
    "--disable-dev-shm-usage",
    // A page is as wide as the screen, as on a phone.
    "--hide-scrollbars",
    "--no-first-run",
];

/// The colours that somebody's system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// As style sheets call it.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// What somebody looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    /// Held in a hand.
    Phone,
    /// On a desk.
    Desk,
}

impl Screen {
    /// Width and height in pixels.
    #[must_use]
    pub(crate) fn size(self) -> (u32, u32) {
        match self {
            Self::Phone => (390, 844),
            Self::Desk => (1440, 900),
        }
    }
}

/// How somebody looks at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// In which colours.
    pub(crate) theme: Theme,
    /// On what.
    pub(crate) screen: Screen,
}

impl Look {
    /// Each theme on each screen.
    pub(crate) const ALL: [Self; 4] = [
        Self { theme: Theme::Light, screen: Screen::Desk },
        Self { theme: Theme::Dark, screen: Screen::Desk },
        Self { theme: Theme::Light, screen: Screen::Phone },
        Self { theme: Theme::Dark, screen: Screen::Phone },
    ];
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.theme.name(), self.screen.size().0)
    }
}

/// Whether a page's scripts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scripts {
    /// They do.
    Run,
    /// They do not; what [`Session::ask`] is given does.
    Off,
}

/// Something on a page as a screen reader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// What it is: `link`, `image`.
    pub(crate) role: String,
    /// What it is called.
    pub(crate) name: String,
}

/// A driver and its browsers.
#[derive(Debug)]
pub(crate) struct Browser {
    process: Process,
    program: PathBuf,
    dir: PathBuf,
    address: String,
    opened: u32,
}

impl Browser {
    /// Starts the driver and waits until it listens.
    ///
    /// - `dir`: its own, and empty.
    ///
    /// # Errors
    ///
    /// If driver or browser is not installed; says how. If the driver does not start.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (driver, program) = (installed("chromedriver")?, installed("chromium")?);
        std::fs::create_dir_all(dir)?;
        let mut command = Command::new(driver);
        command.arg("--port=0").env("TMPDIR", dir);
        let mut process = Process::start("chromedriver", command, &dir.join("chromedriver.log"))?;
        let deadline = Instant::now() + START_MAX;
        let port = loop {
            if let Some(port) = port_in(&process.log()) {
                break port;
            }
            process.check_alive()?;
            ensure!(Instant::now() < deadline, "chromedriver is silent\n{}", process.log_tail());
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let address = format!("http://127.0.0.1:{port}");
        Ok(Self { process, program, dir: dir.to_owned(), address, opened: 0 })
    }

    /// Starts a browser that knows nothing of the ones before.
    ///
    /// # Errors
    ///
    /// If it does not start; with the end of the driver's log.
    pub(crate) async fn open(&mut self, look: Look) -> anyhow::Result<Session> {
        self.opened += 1;
        let profile = self.dir.join(format!("profile-{}", self.opened));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities(&self.program, &profile));
        let opened = builder.connect(&self.address).await;
        let client =
            opened.with_context(|| format!("opening Chromium\n{}", self.process.log_tail()))?;
        let session = Session { client };
        session.show(look).await?;
        Ok(session)
    }

    /// Ends driver and browsers.
    pub(crate) async fn end(mut self) {
        self.process.kill_group();
        self.process.end().await;
    }
}

impl Drop for Browser {
    /// A driver that is killed leaves its browsers to themselves.
    fn drop(&mut self) {
        self.process.kill_group();
    }
}

/// A browser with one page.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
}

impl Session {
    /// Opens an address and waits until it is loaded.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub(crate) async fn goto(&self, url: &str) -> anyhow::Result<()> {
        self.client.goto(url).await.with_context(|| format!("opening {url}"))
    }

    /// Clicks the first element that a selector finds, and waits for the page that it leads to, if
    /// it leads to one.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be clicked.
    pub(crate) async fn click(&self, css: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + CLICK_MAX;
        loop {
            match self.try_click(css).await {
                // A page that follows the node puts new elements in place of those found.
                Err(error) if error.is_stale_element_reference() && Instant::now() < deadline => {}
                done => return done.with_context(|| format!("clicking `{css}`")),
            }
        }
    }

    async fn try_click(&self, css: &str) -> Result<(), CmdError> {
        self.client.find(Locator::Css(css)).await?.click().await
    }

    /// Presses a key and lets go of it.
    ///
    /// # Errors
    ///
    /// If the browser does not take it.
    pub(crate) async fn press(&self, key: Key) -> anyhow::Result<()> {
        let value = char::from(key);
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.client.perform_actions(keys).await.with_context(|| format!("pressing {key:?}"))
    }

    /// Runs the body of a function inside of the page; also where the page's own scripts are off.
    ///
    /// # Errors
    ///
    /// If it throws.
    pub(crate) async fn ask(&self, script: &str, arguments: Vec<Value>) -> anyhow::Result<Value> {
        self.client.execute(script, arguments).await.context("a script in the page")
    }

    /// Shows pages in another way, the present one included.
    ///
    /// # Errors
    ///
    /// If the browser cannot.
    pub(crate) async fn show(&self, look: Look) -> anyhow::Result<()> {
        let theme = json!({"name": "prefers-color-scheme", "value": look.theme.name()});
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [theme]})).await?;
        let (width, height) = look.screen.size();
        let metrics = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": look.screen == Screen::Phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        Ok(())
    }

    /// Whether the scripts of pages run that are opened from now on.
    ///
    /// # Errors
    ///
    /// If the browser cannot.
    pub(crate) async fn set_scripts(&self, scripts: Scripts) -> anyhow::Result<()> {
        let wanted = json!({"value": scripts == Scripts::Off});
        self.devtools("Emulation.setScriptExecutionDisabled", wanted).await?;
        Ok(())
    }

    /// What was written to the console since the last time that this was asked.
    ///
    /// # Errors
    ///
    /// If the browser does not say.
    pub(crate) async fn console(&self) -> anyhow::Result<Vec<String>> {
        let asked = Vendors { path: "se/log", body: json!({"type": "browser"}) };
        let entries = self.client.issue_cmd(asked).await.context("the console")?;
        let entries = entries.as_array().context("the console is no list")?;
        let said = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().unwrap_or("?").to_owned();
            format!("{}: {}", text("level"), text("message"))
        };
        Ok(entries.iter().map(said).collect())
    }

    /// What a screen reader is told of the page.
    ///
    /// # Errors
    ///
    /// If the browser does not say.
    pub(crate) async fn spoken(&self) -> anyhow::Result<Vec<Spoken>> {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({})).await?;
        let nodes = tree["nodes"].as_array().context("a tree without nodes")?;
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let told = nodes.iter().filter(|node| node["ignored"] != true);
        let spoken =
            told.map(|node| Spoken { role: text(&node["role"]), name: text(&node["name"]) });
        Ok(spoken.collect())
    }

    /// Keeps a picture of the whole page, below its window too; see [`screenshots`].
    ///
    /// # Errors
    ///
    /// If the browser makes none, or it cannot be written.
    pub(crate) async fn screenshot(&self, name: &str) -> anyhow::Result<PathBuf> {
        let wanted = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.devtools("Page.captureScreenshot", wanted).await?;
        let text = taken["data"].as_str().context("a screenshot without data")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
        let path = screenshots()?.join(format!("{name}.png"));
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Ends this browser.
    ///
    /// # Errors
    ///
    /// If the driver does not answer.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.client.close().await.context("closing Chromium")
    }

    /// A command of the browser's own protocol.
    async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        let body = json!({"cmd": command, "params": parameters});
        let asked = Vendors { path: "goog/cdp/execute", body };
        self.client.issue_cmd(asked).await.with_context(|| command.to_owned())
    }
}

/// A command of this driver that WebDriver does not have.
#[derive(Debug)]
struct Vendors {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendors {
    fn endpoint(&self, base_url: &Url, session_id: Option<&str>) -> Result<Url, ParseError> {
        base_url.join(&format!("session/{}/{}", session_id.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// Where screenshots are kept: `ASSAY_SCREENSHOTS`, or `screenshots` among the build results. The
/// next run writes over them.
///
/// # Errors
///
/// If the folder cannot be made.
pub(crate) fn screenshots() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("ASSAY_SCREENSHOTS") {
        Some(folder) => PathBuf::from(folder),
        // Programs lie in `<target>/<profile>/`.
        None => {
            let program = binary("assay")?;
            let target = program.ancestors().nth(2).context("no folder of build results")?;
            target.join("screenshots")
        }
    };
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn capabilities(program: &Path, profile: &Path) -> Capabilities {
    let mut switches = SWITCHES.map(str::to_owned).to_vec();
    switches.push(format!("--user-data-dir={}", profile.display()));
    let options = json!({"binary": program, "args": switches});
    let wanted = [
        ("browserName", json!("chrome")),
        ("goog:loggingPrefs", json!({"browser": "ALL"})),
        ("goog:chromeOptions", options),
    ];
    wanted.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A program of a package that the tests need.
fn installed(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file()).with_context(|| {
        format!("`{program}` is not installed: run `scripts/prepare --for tests` first")
    })
}

/// The port that the driver chose, once it says so.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("was started successfully on port ")?;
    // A line that is not whole yet could have half of a number.
    let (port, _) = rest.split_once('\n')?;
    port.trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_what_a_whole_line_says() {
        let before = "Starting ChromeDriver 156.0 (a21c) on port 0\nOnly local connections.\n";
        assert_eq!(port_in(before), None);
        let said = format!("{before}ChromeDriver was started successfully on port 43589.\n");
        assert_eq!(port_in(&said), Some(43_589));
        let half = said.strip_suffix("89.\n").unwrap();
        assert_eq!(port_in(half), None);
    }

    #[test]
    fn what_is_not_installed_says_what_installs_it() {
        let error = installed("no-such-program").unwrap_err().to_string();
        assert!(error.contains("scripts/prepare --for tests"), "{error}");
    }

    #[test]
    fn a_look_is_named_as_its_screenshots_are() {
        let names = Look::ALL.map(|look| look.to_string());
        assert_eq!(names, ["light-1440", "dark-1440", "light-390", "dark-390"]);
    }
}
