use super::*;

const LIMITS: LagLimits =
    LagLimits { blocks_max: BlockCount(5), age_max: Duration::from_secs(120) };
const NOW: UnixMs = UnixMs(1_000_000_000);

fn sample(best: u64, finalized: u64, age_s: u64) -> Sample {
    Sample {
        best: BlockNumber(best),
        finalized: BlockNumber(finalized),
        time: Some(UnixMs(NOW.0 - age_s * 1000)),
        is_syncing: false,
    }
}

fn demotions(samples: &[Sample]) -> Vec<Option<Demotion>> {
    judge(samples, NOW, LIMITS).into_iter().map(|(_, demotion)| demotion).collect()
}

#[test]
fn an_endpoint_is_put_back_for_blocks_it_lacks_and_not_for_a_few() {
    let lagging = |blocks| Some(Demotion::Lagging { blocks: BlockCount(blocks) });
    let ours = sample(100, 97, 12);
    assert_eq!(demotions(&[ours, sample(105, 100, 0)]), [None, None]);
    assert_eq!(demotions(&[ours, sample(106, 100, 0)]), [lagging(6), None]);
    // Its best block keeps up, its finality does not.
    assert_eq!(demotions(&[sample(106, 80, 12), sample(106, 103, 0)]), [lagging(23), None]);
    let judged = judge(&[ours, sample(103, 100, 0)], NOW, LIMITS);
    assert_eq!(judged[0].0, BlockCount(3), "a lag is shown before it counts");
}

#[test]
fn an_old_newest_block_and_syncing_put_an_endpoint_back() {
    let old = sample(100, 97, 121);
    let age = Duration::from_secs(121);
    assert_eq!(demotions(&[old]), [Some(Demotion::Stale { age })]);
    assert_eq!(demotions(&[sample(100, 97, 120)]), [None]);
    let syncing = Sample { is_syncing: true, ..sample(100, 97, 0) };
    assert_eq!(demotions(&[syncing]), [Some(Demotion::Syncing)]);
    let silent = Sample { time: None, ..old };
    assert_eq!(demotions(&[silent]), [None], "a chain may lack a clock");
    // A clock that jumped back finds no block too old.
    let ahead = Sample { time: Some(UnixMs(NOW.0 + 3_600_000)), ..old };
    assert_eq!(demotions(&[ahead]), [None]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_limits_runtime_calls_is_spared_them_and_else_used_as_before() {
    let mut health = Health::default();
    let usual = health.rank(Instant::now());
    for times in [1, 2, 4] {
        for _ in 0..3 {
            health.calls_throttled(Instant::now(), "enough".to_owned(), 1.0);
        }
        assert!(health.left_alone_for(Instant::now()).is_none());
        assert_eq!(health.rank(Instant::now()), usual);
        tokio::time::advance(times * ALONE_MIN - Duration::from_millis(1)).await;
        assert!(health.spares_calls(Instant::now()), "{times}: several at once count once");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!health.spares_calls(Instant::now()), "{times}");
    }
    assert_eq!(health.failures, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_puts_an_endpoint_behind_the_others_for_twice_as_long_each_time() {
    let mut health = Health::default();
    let usual = health.rank(Instant::now());
    for times in [1, 2, 4, 8] {
        health.failed(Instant::now(), "reset".to_owned(), 1.0);
        health.answered(Duration::from_millis(3));
        assert!(health.rank(Instant::now()) > usual, "who hangs answers now and then");
        tokio::time::advance(times * REST_MIN - Duration::from_millis(1)).await;
        assert!(health.rank(Instant::now()) > usual, "{times}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(health.rank(Instant::now()), usual, "{times}");
    }
    tokio::time::advance(FORGOTTEN_AFTER + Duration::from_secs(1)).await;
    health.failed(Instant::now(), "reset".to_owned(), 0.0);
    tokio::time::advance(REST_MIN / 2).await;
    assert_eq!(health.rank(Instant::now()), usual, "long ago, and dice halve");
    assert_eq!((health.failures, health.last_error.as_deref()), (5, Some("reset")));
    for _ in 0..100 {
        health.failed(Instant::now(), "reset".to_owned(), 1.0);
    }
    let at = Endpoint::new(0, "ws://a".into());
    let state = health.state(&at, EndpointRole::Standby, Instant::now());
    assert_eq!(state.backed_off_for, Some(REST_MAX));
}

#[tokio::test(start_paused = true)]
async fn a_throttling_endpoint_is_left_alone_even_after_it_answered() {
    let mut health = Health::default();
    health.throttled(Instant::now(), "429".to_owned(), 1.0);
    health.answered(Duration::from_millis(3));
    assert_eq!(health.left_alone_for(Instant::now()), Some(ALONE_MIN));
    tokio::time::advance(ALONE_MIN).await;
    assert_eq!(health.left_alone_for(Instant::now()), None);
    health.throttled(Instant::now(), "429".to_owned(), 1.0);
    assert_eq!(health.left_alone_for(Instant::now()), Some(2 * ALONE_MIN));
    tokio::time::advance(2 * ALONE_MIN + FORGOTTEN_AFTER + Duration::from_secs(1)).await;
    health.throttled(Instant::now(), "429".to_owned(), 1.0);
    assert_eq!(health.left_alone_for(Instant::now()), Some(ALONE_MIN), "long ago");
}

#[test]
fn a_resting_endpoint_comes_after_a_demoted_one() {
    let rank = |is_resting, is_demoted| Rank { is_resting, is_demoted };
    let mut ranks = [rank(true, true), rank(true, false), rank(false, true), rank(false, false)];
    ranks.sort();
    assert_eq!(ranks[..2], [rank(false, false), rank(false, true)]);
    assert_eq!(ranks[2..], [rank(true, false), rank(true, true)]);
}
