//! Where a cluster is.

/// A cluster's location: the text that its operator gave, with the parts that were named.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Location {
    /// The whole text, as given.
    pub text: String,
    /// `city=…`.
    pub city: Option<String>,
    /// `country=…`.
    pub country: Option<String>,
    /// `lat=…`, degrees north.
    pub latitude: Option<f64>,
    /// `lon=…`, degrees east.
    pub longitude: Option<f64>,
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("location {text:?}: {what}; write free text, or city=Munich,country=DE,lat=48.1,lon=11.6")]
pub struct LocationError {
    text: String,
    what: String,
}

impl Location {
    /// Reads free text, or `city=…,country=…,lat=…,lon=…` in any order.
    ///
    /// # Errors
    /// When a part that looks like `key=value` has an unknown key, or a coordinate is not a number in range.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let mut location = Self {
            text: text.trim().to_owned(),
            ..Self::default()
        };
        if !text.contains('=') {
            return Ok(location);
        }
        let fault = |what: String| LocationError {
            text: text.to_owned(),
            what,
        };
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(fault(format!("{part:?} is no key=value")));
            };
            let value = value.trim();
            let degrees = |limit: f64| match value.parse::<f64>() {
                Ok(number) if number.abs() <= limit => Ok(Some(number)),
                _ => Err(fault(format!("{value:?} is no number within {limit}"))),
            };
            match key.trim() {
                "city" => location.city = Some(value.to_owned()),
                "country" => location.country = Some(value.to_owned()),
                "lat" => location.latitude = degrees(90.0)?,
                "lon" => location.longitude = degrees(180.0)?,
                other => return Err(fault(format!("unknown key {other:?}"))),
            }
        }
        Ok(location)
    }

    /// Whether a document's wish means this place: the whole text or the city, without case.
    pub fn matches(&self, wish: &str) -> bool {
        let same = |have: &str| !have.is_empty() && have.to_lowercase() == wish.to_lowercase();
        same(&self.text) || self.city.as_deref().is_some_and(same)
    }
}

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn a_wish_matches_text_or_city_without_case() {
        let garching = Location::parse("city=Garching,country=DE,lat=48.25,lon=11.65").unwrap();
        assert!(garching.matches("garching") && !garching.matches("DE") && !garching.matches(""));
        assert!(Location::parse("Lab 3").unwrap().matches("lab 3"));
    }

    #[test]
    fn a_bad_location_says_what_to_write() {
        for bad in ["city=a,planet=b", "lat=91", "lon=x", "city=a,b"] {
            assert!(
                Location::parse(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("lat=48.1"),
                "{bad}"
            );
        }
    }
}
