//! Devices that an earlier life of the node knew and that this one did not find: fallen off the
//! bus, taken out, cut otherwise, or left out by the configuration.
//!
//! What was known of one stays, so that a device that comes back is no new one; an operator may
//! order it forgotten. Not here: devices that are there (`devices`).

use std::collections::BTreeMap;

use crate::health::{DeviceRow, Standing};
use crate::inventory::DeviceId;
use crate::limits::GONE_DEVICE_KEPT_MS;
use crate::machine::effect::{Note, Outcome};
use crate::machine::operator::{DeviceOrder, OrderRefused};
use crate::machine::Machine;
use crate::rows::{Row, Write};
use crate::unit::Now;

impl Machine {
    /// Takes in what is known of devices that were not found.
    pub(super) fn miss_devices(
        &mut self,
        now: Now,
        known: BTreeMap<DeviceId, DeviceRow>,
        out: &mut Outcome,
    ) {
        for (id, mut row) in known {
            let since = row.gone_since.unwrap_or(now.unix);
            // What a person said, or has to say, is not forgotten by itself.
            let is_settled = row.order.is_none() && row.standing != Standing::Failed;
            if is_settled && now.unix.0.saturating_sub(since.0) > GONE_DEVICE_KEPT_MS {
                forget(row, out);
                continue;
            }
            if row.gone_since.is_none() {
                row.gone_since = Some(since);
                out.put(Row::Device(Box::new(row.clone())));
                let reason = "not found when the node was started".to_owned();
                out.note(Note::DeviceDistrusted {
                    device: id.to_string(),
                    standing: "gone",
                    reason,
                });
            }
            self.gone.insert(id, row);
        }
    }

    /// What an operator orders for a device that is not there: it can only be forgotten.
    ///
    /// # Errors
    ///
    /// [`OrderRefused::Unknown`] if nobody knows it, [`OrderRefused::Gone`] for other orders.
    pub(super) fn order_gone(
        &mut self,
        device: &DeviceId,
        order: &DeviceOrder,
        out: &mut Outcome,
    ) -> Result<Box<DeviceRow>, OrderRefused> {
        if !self.gone.contains_key(device) {
            return Err(OrderRefused::Unknown);
        }
        if *order != DeviceOrder::Uncordon {
            return Err(OrderRefused::Gone);
        }
        let row = self.gone.remove(device).ok_or(OrderRefused::Unknown)?;
        forget(row.clone(), out);
        Ok(Box::new(row))
    }

    /// What was last known of each device that is not there any more, by device.
    pub fn gone_devices(&self) -> impl Iterator<Item = &DeviceRow> {
        self.gone.values()
    }
}

fn forget(row: DeviceRow, out: &mut Outcome) {
    let row = Row::Device(Box::new(row));
    out.writes.push(Write::Delete(row.table(), row.key()));
}
