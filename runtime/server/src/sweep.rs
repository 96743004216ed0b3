//! The limits in time, looked at now and then for all connections at once: what reads
//! and writes stores the number of the current tick and sets no timer.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bourn_reactor::Sleep;

use crate::bell::when;
use crate::connection::CutReason;
use crate::shared::Shared;
use crate::table::Life;

/// Goes on until its task is dropped. While there is no connection, it sleeps.
pub(crate) async fn sweep(shared: Arc<Shared>, period: Duration) {
    let judge = Judge::new(&shared, period);
    loop {
        shared.table.changed.until(|_| when(!shared.table.is_empty() || shared.is_over())).await;
        if shared.is_over() {
            return;
        }
        Sleep::after(period).await;
        let tick = shared.advance_tick();
        let cut = shared.table.cut(|life| judge.reason(life, tick));
        for (reason, life, stream) in cut {
            let counter = match reason {
                CutReason::FirstByte => &shared.counters.cut_first_byte,
                CutReason::Idle => &shared.counters.cut_idle,
                CutReason::WriteStall => &shared.counters.cut_write_stall,
                CutReason::MinRate => &shared.counters.cut_min_rate,
            };
            counter.count();
            shared.notices.say("cut", format_args!("{} cut: {reason}", life.task_name()));
            // What is unsent would otherwise stay in the kernel as long as the peer likes.
            stream.reset_on_close();
            // Fails only when the connection is over, which is what was wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The limits in ticks, one more than fit, so that none is early.
struct Judge {
    first_byte: u32,
    idle: u32,
    write_stall: u32,
    rate: Option<(u64, u32)>,
    period: Duration,
}

impl Judge {
    fn new(shared: &Shared, period: Duration) -> Judge {
        let limits = &shared.limits;
        let ticks = |limit: Option<Duration>| {
            limit.map_or(u32::MAX, |limit| {
                let ticks = limit.as_nanos().div_ceil(period.as_nanos()) + 1;
                u32::try_from(ticks).unwrap_or(u32::MAX)
            })
        };
        Judge {
            first_byte: ticks(limits.first_byte),
            idle: ticks(limits.idle),
            write_stall: ticks(limits.write_stall),
            rate: limits.min_rate.map(|(rate, grace)| (rate, ticks(Some(grace)))),
            period,
        }
    }

    fn reason(&self, life: &Life, now: u32) -> Option<CutReason> {
        let since = |tick: u32| now.wrapping_sub(tick);
        let moved = since(life.marks.moved.load(Relaxed));
        let stalled = life.marks.stalled.load(Relaxed);
        if stalled != 0 && since(stalled) >= self.write_stall {
            return Some(CutReason::WriteStall);
        }
        if !life.marks.heard.load(Relaxed) && since(life.born) >= self.first_byte {
            return Some(CutReason::FirstByte);
        }
        if moved >= self.idle {
            return Some(CutReason::Idle);
        }
        let (rate, grace) = self.rate?;
        let asking = life.marks.asking.load(Relaxed);
        let last = life.marks.asked_last.load(Relaxed);
        // Only while something comes: a peer that says nothing waits for an answer, or is idle.
        if asking == 0 || since(last) > 1 {
            return None;
        }
        let lasted = last.wrapping_sub(asking);
        let wanted = u128::from(rate) * self.period.as_nanos() * u128::from(lasted) / 1_000_000_000;
        (lasted >= grace && u128::from(life.marks.asked.load(Relaxed)) < wanted).then_some(CutReason::MinRate)
    }
}
