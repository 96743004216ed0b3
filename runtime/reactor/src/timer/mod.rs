//! Timers: a [`Sleep`](sleep::Sleep) is a future over an entry of the
//! [`Wheel`](wheel::Wheel) of the reactor at which it was polled first.

pub(crate) mod pace;
pub(crate) mod sleep;
pub(crate) mod wheel;
