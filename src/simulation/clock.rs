//! A machine's `CLOCK_BOOTTIME`: it began at another time than the world's and goes at another rate, and it goes on while the
//! machine sleeps or a process is stopped.

use super::random::Random;
use crate::clock::Moment;

const MILLION: u64 = 1_000_000;

/// The clock of one machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    ahead: u64,
    /// How far it goes while the world's goes a million.
    rate: u64,
}

impl Clock {
    /// Fast or slow by up to `rate` millionths.
    pub(super) fn draw(random: &mut Random, rate: u64) -> Clock {
        let ahead = 1_000_000_000_000 + random.below(1_000_000_000_000);
        Clock { ahead, rate: MILLION - rate + random.below(2 * rate + 1) }
    }

    /// What it shows when the world's shows `world`.
    pub(super) fn at(self, world: Moment) -> Moment {
        // A seed lasts minutes: far below the hours that would not fit.
        Moment(self.ahead + world.0 * self.rate / MILLION)
    }

    /// The first moment of the world at which it shows `own` or more.
    pub(super) fn when(self, own: Moment) -> Moment {
        if own.0 == u64::MAX {
            return own;
        }
        Moment((own.0.saturating_sub(self.ahead).saturating_mul(MILLION)).div_ceil(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        let mut random = Random::new(1, 1);
        for _ in 0..10_000 {
            let clock = Clock::draw(&mut random, 40_000);
            let own = Moment(clock.at(Moment(0)).0 + random.below(1_000_000_000_000));
            let world = clock.when(own);
            assert!(clock.at(world) >= own);
            assert!(world.0 == 0 || clock.at(Moment(world.0 - 1)) < own);
        }
    }
}
