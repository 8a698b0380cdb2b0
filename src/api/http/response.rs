//! Sends replies through picoserve: from memory, or in pieces from a file.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use picoserve::ResponseSent;
use picoserve::io::{Read, Write};
use picoserve::response::{
    Connection, Content, ForEachHeader, HeadersIter, Response, ResponseWriter, StatusCode,
};

use super::reply::{FilePart, Reply};
use crate::io::system::timer;
use crate::io::system::workers::FILES;

/// Sends a reply; without its body for HEAD.
pub async fn write<R: Read, W: ResponseWriter<Error = R::Error>>(
    reply: Reply,
    send_body: bool,
    connection: Connection<'_, R>,
    writer: W,
) -> Result<ResponseSent, W::Error> {
    let status = StatusCode::new(reply.status);
    let extra = Extra(reply.headers.clone());
    if matches!(reply.status, 204 | 304) {
        return writer.write_response(connection, Response::empty(status).with_headers(extra)).await;
    }
    let response = Response::new(status, Payload { reply, send_body }).with_headers(extra);
    writer.write_response(connection, response).await
}

struct Payload {
    reply: Reply,
    send_body: bool,
}

impl Content for Payload {
    fn content_type(&self) -> &'static str {
        self.reply.content_type
    }
    fn content_length(&self) -> usize {
        let file = self.reply.file.as_ref().map(|f| usize::try_from(f.len).unwrap_or(usize::MAX));
        file.unwrap_or(self.reply.body.len())
    }
    async fn write_content<W: Write>(self, mut writer: W) -> Result<(), W::Error> {
        match self.reply.file {
            _ if !self.send_body => Ok(()),
            Some(part) => write_file(part, writer).await,
            None => writer.write_all(&self.reply.body).await,
        }
    }
}

/// Retry interval while no thread is free to read a file.
const AGAIN: Duration = Duration::from_millis(100);
/// Piece size of a file transfer, bytes.
const PIECE: u64 = 64 * 1024;

/// Sends part of a file. If it has become shorter meanwhile, zeros are sent, since the length was already
/// announced.
async fn write_file<W: Write>(part: FilePart, mut writer: W) -> Result<(), W::Error> {
    let (file, mut left) = (Arc::new(part.file), part.len);
    while left > 0 {
        let n = left.min(PIECE);
        let source = Arc::clone(&file);
        let read = FILES.run(move || {
            let mut piece = vec![0; n as usize];
            let mut filled = 0;
            while let Some(room) = piece.get_mut(filled..).filter(|r| !r.is_empty()) {
                match (&*source).read(room) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => filled += n,
                }
            }
            piece
        });
        let Ok(piece) = read.await else {
            // The length was already announced: wait until a thread is free.
            timer::sleep(AGAIN).await;
            continue;
        };
        writer.write_all(&piece).await?;
        left -= n;
    }
    Ok(())
}

struct Extra(Vec<(&'static str, String)>);

impl HeadersIter for Extra {
    async fn for_each_header<F: ForEachHeader>(self, mut f: F) -> Result<F::Output, F::Error> {
        for (name, value) in &self.0 {
            f.call(name, value).await?;
        }
        f.finalize().await
    }
}
