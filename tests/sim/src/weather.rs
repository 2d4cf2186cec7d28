//! What goes wrong for a while, when it begins and when it ends; and how everything heals.

use node_history::Violation;

use crate::fault::{Fault, Faults};
use crate::happening::{Happening, Spell};
use crate::world::{validator, World};

/// How often something may begin to go wrong.
const WEATHER_EVERY_MS: u64 = 2_000;
const HOUR_MS: u64 = 60 * 60 * 1000;

impl World {
    pub(crate) fn set_clocks(&mut self) {
        let percents = u64::from(self.faults.rate(Fault::Drift));
        for node in 0..self.hosts.len() {
            let most = 10_000 * percents.min(100) / 100;
            let drift = self.rng.below(2 * most + 1);
            let drift_ppm = i64::try_from(drift).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
            self.hosts[node].drift_ppm = drift_ppm;
        }
    }

    /// Whether this begins now.
    pub(crate) fn begins(&mut self, fault: Fault) -> bool {
        self.rng.happens(self.faults.rate(fault), 10_000)
    }

    pub(crate) fn any_node(&mut self) -> usize {
        self.rng.index(self.hosts.len())
    }

    pub(crate) fn change_weather(&mut self) {
        if self.faults.0.is_empty() {
            return;
        }
        self.after(WEATHER_EVERY_MS, Happening::WeatherDue);
        self.cut_links();
        self.trouble_processes();
        self.trouble_chain();
        if self.plan.has_gpus() {
            self.trouble_gpus();
        }
    }

    fn cut_links(&mut self) {
        let everybody = (1_u64 << self.hosts.len()) - 1;
        let is_both_ways = self.begins(Fault::Partition);
        if is_both_ways || self.begins(Fault::OneWay) {
            let group = self.rng.below(everybody + 1);
            let lasts_ms = self.rng.spread(5_000, 600_000);
            let mut cuts = vec![(group, everybody & !group)];
            if is_both_ways {
                cuts.push((everybody & !group, group));
            }
            for (from, to) in cuts {
                let id = self.network.cut(from, to);
                self.end_later(lasts_ms, Spell::Cut { id });
            }
            self.remark(None, || {
                format!("group {group:#b} is cut off for {lasts_ms} ms, both ways: {is_both_ways}")
            });
        }
    }

    fn trouble_processes(&mut self) {
        if self.begins(Fault::Crash) {
            let node = self.any_node();
            let down_ms = self.rng.spread(500, 300_000);
            self.kill(node);
            self.after(down_ms, Happening::NodeStarted { node });
        }
        if self.begins(Fault::LostRows) {
            let node = self.any_node();
            let down_ms = self.rng.spread(500, 300_000);
            self.kill(node);
            self.hosts[node].disk.lose_rows();
            self.ledger.forget(node);
            self.after(down_ms, Happening::NodeStarted { node });
            self.remark(Some(node), || "all rows are lost".to_owned());
        }
        if self.begins(Fault::Death) {
            let node = self.any_node();
            let gone = self.hosts.iter().filter(|host| host.is_gone).count();
            // The first node stays, and so do most.
            if node > 0 && gone < (self.hosts.len() - 1) / 2 {
                self.kill(node);
                self.hosts[node].is_gone = true;
                self.remark(Some(node), || "dead for good".to_owned());
            }
        }
        if self.begins(Fault::Stall) {
            let node = self.any_node();
            let host = &mut self.hosts[node];
            if host.is_up() && !host.is_stalled {
                host.is_stalled = true;
                let life = host.life;
                let lasts_ms = self.rng.spread(5_000, 240_000);
                self.end_later(lasts_ms, Spell::Stall { node, life });
                self.remark(Some(node), || format!("the process is stopped for {lasts_ms} ms"));
            }
        }
        self.hang_a_loop();
        if self.begins(Fault::WallJump) {
            let node = self.any_node();
            let jump = i64::try_from(self.rng.below(2 * HOUR_MS)).unwrap_or(0);
            let by_ms = jump - i64::try_from(HOUR_MS).unwrap_or(0);
            self.hosts[node].wall_offset_ms += by_ms;
            self.remark(Some(node), || format!("the wall clock jumps by {by_ms} ms"));
        }
    }

    fn hang_a_loop(&mut self) {
        if !self.begins(Fault::LoopHangs) {
            return;
        }
        let node = self.any_node();
        let host = &mut self.hosts[node];
        if host.is_up() && !host.is_stalled && !host.is_hung {
            host.is_hung = true;
            let life = host.life;
            let lasts_ms = self.rng.spread(5_000, 240_000);
            self.end_later(lasts_ms, Spell::LoopHang { node, life });
            self.remark(Some(node), || format!("the loop hangs for {lasts_ms} ms"));
        }
    }

    fn trouble_chain(&mut self) {
        if self.begins(Fault::ChainStall) && !self.is_chain_stalled {
            self.is_chain_stalled = true;
            let lasts_ms = self.rng.spread(10_000, 600_000);
            self.end_later(lasts_ms, Spell::ChainStall);
            self.remark(None, || format!("no blocks for {lasts_ms} ms"));
        }
        if self.begins(Fault::FinalityLag) {
            self.chain.finality_lag = self.rng.spread(3, 40);
            let lasts_ms = self.rng.spread(10_000, 600_000);
            self.end_later(lasts_ms, Spell::FinalityLag);
            let lag = self.chain.finality_lag;
            self.remark(None, || format!("finality is {lag} blocks behind for {lasts_ms} ms"));
        }
        if self.begins(Fault::UnevenHeights) {
            let node = self.any_node();
            let lasts_ms = self.rng.spread(10_000, 300_000);
            let is_blind = self.rng.below(2) == 0;
            let lag_blocks = self.rng.between(1, 20);
            let host = &mut self.hosts[node];
            if is_blind {
                host.is_blind = true;
            } else {
                host.lag_blocks = lag_blocks;
            }
            self.end_later(lasts_ms, Spell::Blindness { node });
            self.remark(Some(node), || format!("reads old blocks or none for {lasts_ms} ms"));
        }
        if self.begins(Fault::PermitLost) {
            let node = self.any_node();
            let lasts_ms = self.rng.spread(10_000, 600_000);
            self.chain.set_permit(validator(node), false);
            self.end_later(lasts_ms, Spell::PermitLost { node });
            self.remark(Some(node), || format!("has no permit for {lasts_ms} ms"));
        }
    }

    pub(crate) fn end_spell(&mut self, spell: Spell) -> Result<(), Box<Violation>> {
        match spell {
            Spell::Cut { id } => self.network.heal(id),
            Spell::Stall { node, life } => {
                if self.hosts[node].life == life {
                    return self.wake(node);
                }
            }
            Spell::LoopHang { node, life } => {
                if self.hosts[node].life == life {
                    return self.unhang(node);
                }
            }
            Spell::ChainStall => self.is_chain_stalled = false,
            Spell::FinalityLag => self.chain.finality_lag = 2,
            Spell::Blindness { node } => {
                self.hosts[node].is_blind = false;
                self.hosts[node].lag_blocks = 0;
            }
            Spell::PermitLost { node } => self.chain.set_permit(validator(node), true),
        }
        Ok(())
    }

    /// Ends everything that goes wrong. What is gone for good stays gone, and clocks stay off.
    pub(crate) fn heal(&mut self) -> Result<(), Box<Violation>> {
        self.remark(None, || "everything heals".to_owned());
        self.faults = Faults::default();
        self.network.heal_all();
        self.end_spell(Spell::ChainStall)?;
        self.end_spell(Spell::FinalityLag)?;
        for node in 0..self.hosts.len() {
            self.end_spell(Spell::Blindness { node })?;
            self.end_spell(Spell::PermitLost { node })?;
            self.wake(node)?;
            self.unhang(node)?;
            self.start(node)?;
        }
        self.heal_gpus()
    }
}
