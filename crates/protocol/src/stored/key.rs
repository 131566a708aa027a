//! Keys of records, whose order is that of what they name.

use model::id::{EventId, JobId};
use model::name::Name;
use model::slot::Slot;

/// An id of any kind by its bits: 16 bytes, big endian.
pub fn id(bits: u128) -> Vec<u8> {
    bits.to_be_bytes().to_vec()
}

/// Job, event.
pub fn event(job: JobId, event: EventId) -> Vec<u8> {
    [job.bits().to_be_bytes(), event.bits().to_be_bytes()].concat()
}

/// Job, service, a zero byte, index: in the order of [`Slot`].
pub fn slot(slot: &Slot) -> Vec<u8> {
    let mut key = id(slot.job.bits());
    key.extend_from_slice(slot.service.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(&slot.index.to_be_bytes());
    key
}

/// The inverse of [`id`]; `None` for other bytes.
pub fn read_id(key: &[u8]) -> Option<u128> {
    key.try_into().ok().map(u128::from_be_bytes)
}

/// The inverse of [`event()`]; `None` for other bytes.
pub fn read_event(key: &[u8]) -> Option<(JobId, EventId)> {
    let (job, event) = key.split_at_checked(16)?;
    Some((
        JobId::from_bits(read_id(job)?),
        EventId::from_bits(read_id(event)?),
    ))
}

/// The inverse of [`slot()`]; `None` for other bytes.
pub fn read_slot(key: &[u8]) -> Option<Slot> {
    let (job, rest) = key.split_at_checked(16)?;
    let (service, index) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
    let service = std::str::from_utf8(service.strip_suffix(b"\0")?).ok()?;
    Some(Slot {
        job: JobId::from_bits(read_id(job)?),
        service: Name::new(service).ok()?,
        index: u32::from_be_bytes(index.try_into().ok()?),
    })
}
