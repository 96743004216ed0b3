//! Handing listening sockets over to another process.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::listener::Listener;
use crate::shared::Shared;

#[derive(Debug)]
pub(crate) struct Offer;

impl Offer {
    pub(crate) async fn at(_path: &Path) -> io::Result<(Offer, Vec<Listener>)> {
        todo!()
    }

    pub(crate) async fn stand(self, _shared: Arc<Shared>, _listeners: Vec<Arc<Listener>>) {}
}
