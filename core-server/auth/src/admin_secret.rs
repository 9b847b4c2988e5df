//! The first admin: the user that a mounted Secret names, with the password that it has.
//!
//! The Secret counts once: an admin who changes the password later keeps the new one. Another content of the Secret counts
//! again, so deleting the Secret (the operator makes a new one) is the way back in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::password::{PasswordError, check_strength};
use crate::procedures::State;
use crate::sign_in_attempts::Attempt;
use crate::store::StoreError;

/// The kubelet brings a changed Secret within about a minute; then it is seen within this time.
const LOOK: Duration = Duration::from_secs(10);
/// After a failure of the database.
const AGAIN: Duration = Duration::from_secs(2);
const MAX_FILE_BYTES: usize = 1024;

/// What the Secret has: the keys of `kubernetes.io/basic-auth`.
#[derive(Clone, PartialEq, Eq)]
struct AdminSecret {
    username: String,
    password: String,
}

/// Why a Secret is not taken over.
#[derive(Debug, thiserror::Error)]
enum NotTakenOver {
    #[error("the file {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("the file {0} has to be a text of 1 to {MAX_FILE_BYTES} bytes")]
    NoText(PathBuf),
    #[error("{0}")]
    Weak(#[from] crate::password::WeakPassword),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Takes the Secret in `directory` over, now and whenever it has changed, until told to stop. There need not be one.
pub(crate) async fn follow(directory: &Path, state: &State, stop: &CancellationToken) {
    let mut known: Option<AdminSecret> = None;
    let mut told: Option<String> = None;
    loop {
        let outcome = match read(directory).await {
            Ok(found) if found == known => Ok(()),
            Ok(None) => Ok(()),
            Ok(Some(secret)) => take_over(&secret, state).await.map(|()| known = Some(secret)),
            Err(problem) => Err(problem),
        };
        let pause = match outcome {
            Ok(()) => {
                told = None;
                LOOK
            }
            Err(problem) => {
                let is_transient = matches!(&problem, NotTakenOver::Store(_) | NotTakenOver::Password(_));
                let problem = problem.to_string();
                if told.as_ref() != Some(&problem) {
                    match is_transient {
                        true => warn!(problem, "the Secret of the first admin is not taken over yet"),
                        false => error!(problem, "the Secret of the first admin cannot be used: put it right or delete it"),
                    }
                    told = Some(problem);
                }
                if is_transient { AGAIN } else { LOOK }
            }
        };
        // Replicas that started together do not do it together.
        let pause = pause.mul_f64(0.75 + rand::random::<f64>() / 2.0);
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

async fn take_over(secret: &AdminSecret, state: &State) -> Result<(), NotTakenOver> {
    let State { store, passwords, .. } = state;
    check_strength(&secret.password)?;
    loop {
        let before = store.admin_secret().await?;
        if let Some((username, hash)) = &before
            && *username == secret.username
            && passwords.is(secret.password.clone(), Some(hash.clone())).await?
        {
            return Ok(());
        }
        let hash = passwords.hash(secret.password.clone()).await?;
        // False: another replica has, and it is to be seen whether from the same Secret.
        if store.take_over_admin(before, secret.username.clone(), hash, Attempt::with(&secret.username)).await? {
            info!(username = secret.username, "the admin of the instance has the password of the Secret");
        }
    }
}

async fn read(directory: &Path) -> Result<Option<AdminSecret>, NotTakenOver> {
    let username = read_text(&directory.join("username")).await?;
    let password = read_text(&directory.join("password")).await?;
    Ok(username.zip(password).map(|(username, password)| AdminSecret { username: username.trim().to_owned(), password }))
}

async fn read_text(path: &Path) -> Result<Option<String>, NotTakenOver> {
    match tokio::fs::read(path).await {
        Ok(bytes) if bytes.is_empty() || bytes.len() > MAX_FILE_BYTES => Err(NotTakenOver::NoText(path.into())),
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| NotTakenOver::NoText(path.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NotTakenOver::Unreadable(path.into(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_two_files() {
        let mounted = tempfile::tempdir().unwrap();
        let directory = mounted.path();
        let write = |name: &str, content: &[u8]| std::fs::write(directory.join(name), content).unwrap();
        assert!(read(directory).await.unwrap().is_none());
        write("username", b"admin@example.com\n");
        assert!(read(directory).await.unwrap().is_none());
        write("password", b"Passw0rd");
        let secret = read(directory).await.unwrap().unwrap();
        assert_eq!((secret.username.as_str(), secret.password.as_str()), ("admin@example.com", "Passw0rd"));
        for content in [&b""[..], b"\xff", &[b'a'; 1025]] {
            write("password", content);
            assert!(matches!(read(directory).await, Err(NotTakenOver::NoText(_))));
        }
    }
}
