//! Many values of one figure.

use std::time::Duration;

/// Values in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// One more, in milliseconds.
    pub(crate) fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    /// Those of another too.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which this part of them lies, by the nearest rank; not a number when there are none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize - 1;
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let samples: Samples = (1..=100).rev().map(f64::from).collect();
        assert_eq!(samples.len(), 100);
        assert!((samples.median() - 50.0).abs() < 1e-9);
        assert!((samples.quantile(0.9) - 90.0).abs() < 1e-9);
        assert!((samples.quantile(1.0) - 100.0).abs() < 1e-9);
        assert!((samples.quantile(0.0) - 1.0).abs() < 1e-9);
        assert!(Samples::default().median().is_nan());
    }
}
