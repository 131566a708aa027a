//! What the word of a scheduler elsewhere comes to, where something is to be placed.

use crate::{
    Algorithm, Answer, Asks, Candidate, Look, Remote, Request, Scheduler as _, TRIES, Unplaceable,
};

/// Why nobody of its kind was chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum NotChosen<I> {
    /// None will do, or the scheduler failed or declined.
    Unplaceable(Unplaceable),
    /// A scheduler elsewhere has not said yet.
    Asking(Box<Asks<I>>),
}

impl<I> From<Unplaceable> for NotChosen<I> {
    fn from(unplaceable: Unplaceable) -> Self {
        Self::Unplaceable(unplaceable)
    }
}

impl Remote {
    /// One of the candidates, by what is known of the scheduler's will: its position, and who chose it, for people. `None`: it
    /// is to be asked, or has not said yet.
    ///
    /// It chooses among what will do now, and nothing else: a choice that has no room any more is asked about again, [`TRIES`]
    /// times; where it fails the declared fallback chooses.
    ///
    /// # Errors
    /// When nothing will do, the scheduler declines, or it fails and nobody is declared.
    pub fn judge<C: Candidate>(
        &self,
        known: &Look<'_>,
        request: &Request<'_>,
        candidates: &[C],
    ) -> Result<Option<(usize, String)>, Unplaceable> {
        // Where nothing will do, there is nothing to choose.
        Algorithm::FirstFit.place(request, candidates)?;
        let instead = |why: &str| self.instead(why, request, candidates).map(Some);
        let (key, tries) = match known {
            Look::Wait => return Ok(None),
            Look::Rests(why) => return instead(why),
            Look::Answered(Answer::Silence(why) | Answer::Unusable(why), _) => return instead(why),
            Look::Answered(Answer::Nobody(why), _) => {
                return Err(Unplaceable::declined(&self.url, why));
            }
            Look::Answered(Answer::Choose(key), tries) => (key, *tries),
        };
        let meant = candidates
            .iter()
            .enumerate()
            .find(|(_, candidate)| candidate.is_called(key));
        match meant {
            None => instead(&format!("it chose {key:?}, which was not offered")),
            Some((position, candidate)) if candidate.reject(request).is_none() => {
                Ok(Some((position, self.url.clone())))
            }
            Some(_) if tries >= TRIES => instead(&format!(
                "it chose {key}, which had no room any more when the answer came, for the {tries}th time"
            )),
            Some(_) => Ok(None),
        }
    }

    /// The choice where it made none.
    fn instead<C: Candidate>(
        &self,
        why: &str,
        request: &Request<'_>,
        candidates: &[C],
    ) -> Result<(usize, String), Unplaceable> {
        let Some(algorithm) = self.fallback else {
            return Err(Unplaceable::fault(&self.url, why));
        };
        let chosen = algorithm.place(request, candidates)?;
        let by = format!(
            "{} (the scheduler {} failed: {why})",
            algorithm.as_str(),
            self.url
        );
        Ok((chosen, by))
    }
}
