//! The engine as a service: what is left behind, what is refused, and who owns what.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use node_core::id::{Attempt, Digest};
use node_core::outcome::Ending;
use node_runner::{CreateError, Owner, SpecRefused};
use support::{run_of, Sandbox};
use tokio::net::{UnixListener, UnixStream};

#[tokio::test]
async fn an_image_is_known_by_its_id_and_an_unknown_one_is_none() {
    let sandbox = Sandbox::new("image").await;
    assert_eq!(sandbox.engine.image("assay-test:busybox").await, Ok(Some(sandbox.image)));
    assert_eq!(sandbox.engine.image("assay-test:no-such-tag").await, Ok(None));
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named_and_never_pulled() {
    let sandbox = Sandbox::new("image-missing").await;
    let mut spec = sandbox.spec("true");
    spec.image = Digest([0xab; 32]);
    let error = sandbox.engine.create(spec).await.unwrap_err();
    assert_eq!(error, CreateError::ImageMissing { image: Digest([0xab; 32]) });
}

#[tokio::test]
async fn a_run_gets_one_container_however_often_it_is_asked_for() {
    let sandbox = Sandbox::new("twice").await;
    let spec = sandbox.spec("true");
    let first = sandbox.engine.create(spec.clone()).await.unwrap();
    let again = sandbox.engine.create(spec.clone()).await.unwrap_err();
    assert_eq!(again, CreateError::AlreadyExists { run: run_of(&spec) });
    assert_eq!(sandbox.engine.leftovers().await.unwrap().len(), 1);
    drop(first);
    sandbox.wait_until_nothing_is_left(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_engines_own_socket_cannot_be_bound_into_a_container() {
    let sandbox = Sandbox::new("engine-socket").await;
    let mut spec = sandbox.spec("true");
    spec.binds.push(node_runner::ReadOnlyBind {
        source: "/var/run".into(),
        target: "/assay/run".to_owned(),
    });
    let error = sandbox.engine.create(spec).await.unwrap_err();
    let CreateError::SpecRefused { source } = error else { panic!("{error:?}") };
    assert!(matches!(source, SpecRefused::BindExposesEngine { .. }), "{source:?}");
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_does_not_start_and_leaves_nothing() {
    let sandbox = Sandbox::new("no-program").await;
    let mut spec = sandbox.spec("true");
    spec.command = vec!["/no/such/program".to_owned()];
    let container = sandbox.engine.create(spec).await.unwrap();
    let error = container.start().await.unwrap_err();
    assert_eq!(error.step, "start");
    sandbox.assert_nothing_left().await;
}

/// A crash: the runtime with everything in it goes away in the middle of a run.
#[test]
fn a_run_that_outlived_its_node_is_found_by_label_and_removed() {
    let before = tokio::runtime::Runtime::new().unwrap();
    let (run_id, run) = before.block_on(async {
        let sandbox = Sandbox::new("crash").await;
        let mut spec = sandbox.spec("sleep 1000");
        let run_id = run_of(&spec);
        if let Owner::Run(labels) = &mut spec.owner {
            labels.attempt = Attempt(7);
        }
        (run_id, sandbox.engine.create(spec).await.unwrap().start().await.unwrap())
    });
    before.shutdown_background();
    drop(run);

    let after = tokio::runtime::Runtime::new().unwrap();
    after.block_on(async {
        let sandbox = Sandbox::reconnect("crash").await;
        let left = sandbox.engine.leftovers().await.unwrap();
        let found: Vec<_> = left.iter().map(|l| (l.run, l.attempt, l.running)).collect();
        assert_eq!(found, [(Some(run_id), Some(Attempt(7)), true)]);
        sandbox.engine.remove_leftover(&left[0]).await.unwrap();
        sandbox.engine.remove_leftover(&left[0]).await.unwrap();
        sandbox.assert_nothing_left().await;
    });
}

#[tokio::test]
async fn a_container_made_ahead_is_nobodys_until_a_run_gets_it_with_its_name() {
    let sandbox = Sandbox::new("ahead").await;
    let run = run_of(&sandbox.spec("true"));
    let start = || async {
        let container = sandbox.engine.create(sandbox.ahead("sleep 1000")).await.unwrap();
        container.start_waiting().await.unwrap()
    };
    let waiting = start().await;
    let left = sandbox.engine.leftovers().await.unwrap();
    assert_eq!((left[0].run, left[0].is_ahead, left[0].running), (None, true, true));

    let mut handle = waiting.assign(&run).await.unwrap();
    let left = sandbox.engine.leftovers().await.unwrap();
    assert_eq!((left[0].run, left[0].is_ahead), (Some(run), true));
    let refused = start().await.assign(&run).await.unwrap_err();
    assert_eq!(refused, CreateError::AlreadyExists { run });

    assert_eq!(sandbox.engine.kill(&run).await, Ok(true), "by the name of its run");
    let report = handle.finished().await;
    assert_eq!(report.ending, Some(Ending::Killed { exit_code: 137 }), "{report:?}");
    sandbox.wait_until_nothing_is_left(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_waiting_container_keeps_its_limits_and_its_wall_clock_runs_from_its_run_on() {
    let sandbox = Sandbox::new("waiting").await;
    let wall_ms = 1_500;
    let mut spec = sandbox.ahead("sleep 1000");
    spec.limits.wall_ms = wall_ms;
    let run = run_of(&sandbox.spec("true"));
    let waiting = sandbox.engine.create(spec).await.unwrap().start_waiting().await.unwrap();
    // Longer than its wall clock: what is asserted is that nothing happens.
    tokio::time::sleep(Duration::from_millis(2 * wall_ms)).await;
    assert!(!waiting.has_ended());
    let mut run_handle = waiting.assign(&run).await.unwrap();
    assert_eq!(sandbox.engine.leftovers().await.unwrap()[0].run, Some(run));
    let report = run_handle.finished().await;
    let Some(Ending::TooSlow { ran_ms }) = report.ending else { panic!("{report:?}") };
    assert!((wall_ms..wall_ms + 2_000).contains(&ran_ms), "{ran_ms} ms");

    let bomb = sandbox.ahead("bomb() { bomb | bomb & }; bomb; sleep 30");
    let waiting = sandbox.engine.create(bomb).await.unwrap().start_waiting().await.unwrap();
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while !waiting.has_ended() {
        assert!(std::time::Instant::now() < give_up, "it still waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn a_waiting_container_that_nobody_wants_is_removed() {
    let sandbox = Sandbox::new("unwanted").await;
    let start = || async {
        let container = sandbox.engine.create(sandbox.ahead("sleep 1000")).await.unwrap();
        container.start_waiting().await.unwrap()
    };
    start().await.remove().await;
    sandbox.assert_nothing_left().await;
    drop(start().await);
    sandbox.wait_until_nothing_is_left(Duration::from_secs(10)).await;
}

/// Passes connections on to the engine at `socket` until it is aborted, with all of them.
fn spawn_proxy(at: &std::path::Path, socket: PathBuf) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(at).expect("the directory is new");
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.expect("someone connects");
            let mut engine = UnixStream::connect(&socket).await.expect("it runs");
            connections.spawn(async move {
                // How a connection ends is its two ends' business.
                tokio::io::copy_bidirectional(&mut client, &mut engine).await.ok();
            });
        }
    })
}

#[tokio::test]
async fn an_engine_that_goes_away_ends_the_run_as_its_own_fault() {
    let sandbox = Sandbox::new("engine-lost").await;
    let endpoint = sandbox.engine.info().endpoint.clone();
    let Some(socket) = endpoint.strip_prefix("unix://") else {
        panic!("this test needs an engine on this host, not {endpoint}");
    };
    let dir = tempfile::tempdir().unwrap();
    let proxied = dir.path().join("proxy.sock");
    let proxy = spawn_proxy(&proxied, PathBuf::from(socket));
    let behind = sandbox.behind(&format!("unix://{}", proxied.display())).await;

    let mut run = behind.start("sleep 1000").await;
    proxy.abort();
    let report = tokio::time::timeout(Duration::from_secs(10), run.finished()).await.unwrap();
    assert!(matches!(report.ending, Some(Ending::EngineFailed { .. })), "{report:?}");
    assert!(!report.removed);
    let left = sandbox.engine.leftovers().await.unwrap();
    assert_eq!(left.iter().map(|l| l.running).collect::<Vec<_>>(), [true]);
    sandbox.engine.remove_leftover(&left[0]).await.unwrap();
    sandbox.assert_nothing_left().await;
}
