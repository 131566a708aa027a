//! What is in a secret by which images are pulled.

use std::fmt;

use zeroize::{Zeroize as _, Zeroizing};

/// A login at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The registry's name as in references of images, `ghcr.io` or `10.0.0.1:5000`.
    pub registry: String,
    /// The user's name there.
    pub username: String,
    /// Its password or token.
    pub password: String,
}

/// A value is no login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is no login at a registry")]
pub struct LoginError;

impl Login {
    /// As a value: three lines.
    pub fn value(&self) -> Zeroizing<Vec<u8>> {
        let Self {
            registry,
            username,
            password,
        } = self;
        // No line ends within the first two; the password is the rest.
        Zeroizing::new(format!("{registry}\n{username}\n{password}").into_bytes())
    }

    /// Of a value.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn read(value: &[u8]) -> Result<Self, LoginError> {
        let text = std::str::from_utf8(value).map_err(|_binary| LoginError)?;
        let mut lines = text.splitn(3, '\n').map(str::to_owned);
        match (lines.next(), lines.next(), lines.next()) {
            (Some(registry), Some(username), Some(password)) => Ok(Self {
                registry,
                username,
                password,
            }),
            _ => Err(LoginError),
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({} at {})", self.username, self.registry)
    }
}
