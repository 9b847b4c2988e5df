//! A stream whose other side has to take what it is sent at a certain pace: who asks for a large
//! answer and does not read it keeps neither the connection nor the answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connections::Place;

/// What has to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Everything, or at least so many bytes,
    pub(super) bytes: usize,
    /// within this time.
    pub(super) within: Duration,
}

/// See the module.
pub(super) struct Paced<Stream> {
    stream: Stream,
    place: Arc<Place>,
    pace: Pace,
    /// Since the other side was first too slow; none while it is quick enough.
    due: Option<Pin<Box<Sleep>>>,
    /// By the other side, since then.
    taken: usize,
}

impl<Stream> Paced<Stream> {
    pub(super) fn new(stream: Stream, pace: Pace, place: Arc<Place>) -> Self {
        Self { stream, place, pace, due: None, taken: 0 }
    }

    /// What became of writing.
    fn written(&mut self, context: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(bytes)) => {
                self.place.moved();
                self.taken = self.taken.saturating_add(*bytes);
                if self.taken >= self.pace.bytes {
                    self.due = None;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if self.due.is_none() {
                    self.taken = 0;
                }
                let due = self.due.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.pace.within)));
                if due.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes its answer too slowly")));
                }
            }
        }
        result
    }
}

impl<Stream: AsyncRead + Unpin> AsyncRead for Paced<Stream> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_ready() {
            self.place.moved();
        }
        result
    }
}

impl<Stream: AsyncWrite + Unpin> AsyncWrite for Paced<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// To be called when everything has been written, which is what hyper does.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.due = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::http::connections::Connections;

    const PACE: Pace = Pace { bytes: 1000, within: Duration::from_millis(300) };

    async fn paced() -> (Paced<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(100);
        (Paced::new(near, PACE, Arc::new(Connections::new(1).place().await)), far)
    }

    #[tokio::test]
    async fn who_takes_nothing_or_too_little_is_cut_off() {
        for take in [0, 10] {
            let (mut stream, mut far) = paced().await;
            let reader = async {
                loop {
                    tokio::time::sleep(PACE.within / 10).await;
                    far.read_exact(&mut vec![0; take]).await.unwrap();
                }
            };
            let write = tokio::time::timeout(PACE.within * 5, stream.write_all(&[0; 100_000]));
            let error = tokio::select! {
                result = write => result.unwrap().unwrap_err(),
                () = reader => unreachable!(),
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn who_takes_enough_or_everything_may_take_long() {
        let (mut stream, mut far) = paced().await;
        let begin = std::time::Instant::now();
        let reader = tokio::spawn(async move {
            while far.read_exact(&mut [0; 100]).await.is_ok() {
                tokio::time::sleep(PACE.within / 30).await;
            }
        });
        stream.write_all(&[0; 10_000]).await.unwrap();
        assert!(begin.elapsed() > PACE.within * 2);
        for _ in 0..3 {
            stream.write_all(&[0; 200]).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(PACE.within * 2).await;
        }
        drop(stream);
        reader.await.unwrap();
    }
}
