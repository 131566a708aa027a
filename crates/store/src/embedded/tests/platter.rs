//! A disk in memory that loses power and fails on demand.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::super::{Embedded, Medium, Options, Origin, Shared, Syncs};
use crate::StoreError;

/// What a disk may tear a write at.
const SECTOR: usize = 512;

/// A small seeded generator, so that a failing case can be run again.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % sides
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// When operations fail, counted over writes, syncs and changes of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// From this operation on, as after a power cut.
    From(usize),
    /// This operation only.
    Once(usize),
    /// Growing beyond so many bytes.
    Full(u64),
    /// Everything, reads too.
    Gone,
}

/// What becomes of writes that were not synced when the power went.
#[derive(Debug, Clone, Copy)]
pub(super) enum Survives {
    Nothing,
    All,
    /// A random half of their sectors.
    Sectors(u64),
}

#[derive(Debug, Default)]
struct Inside {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What is on the disk for certain.
    synced: Vec<u8>,
    /// What happened since.
    unsynced: Vec<Change>,
    operations: usize,
    fault: Fault,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Platter(Arc<Mutex<Inside>>);

impl Platter {
    pub(super) fn of(image: Vec<u8>) -> Self {
        let inside = Inside {
            seen: image.clone(),
            synced: image,
            ..Inside::default()
        };
        Self(Arc::new(Mutex::new(inside)))
    }

    /// The bytes of an empty store.
    pub(super) fn formatted() -> Vec<u8> {
        let platter = Self::default();
        drop(platter.open(Origin::New).unwrap());
        platter.after_power_cut(Survives::Nothing)
    }

    /// Opens it with two syncs for a commit, as is usual.
    pub(super) fn open(&self, origin: Origin) -> Result<Embedded, StoreError> {
        self.open_with(origin, Syncs::Two)
    }

    pub(super) fn open_with(&self, origin: Origin, syncs: Syncs) -> Result<Embedded, StoreError> {
        let options = Options {
            cache_bytes: 64 * 1_024,
            schema: 1,
            reads_from: 1,
            syncs,
        };
        Embedded::on(
            Path::new("platter"),
            options,
            Shared(Arc::new(self.clone())),
            origin,
        )
    }

    pub(super) fn set(&self, fault: Fault) {
        self.0.lock().unwrap().fault = fault;
    }

    pub(super) fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    pub(super) fn size(&self) -> u64 {
        self.0.lock().unwrap().seen.len() as u64
    }

    /// What the next start finds.
    pub(super) fn after_power_cut(&self, survives: Survives) -> Vec<u8> {
        let inside = self.0.lock().unwrap();
        let mut image = inside.synced.clone();
        let mut dice = match survives {
            Survives::Nothing => return image,
            Survives::All => return inside.seen.clone(),
            Survives::Sectors(seed) => Dice(seed),
        };
        for change in &inside.unsynced {
            match change {
                Change::Length(len) if dice.roll(2) == 0 => image.resize(*len as usize, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => {
                    for (index, sector) in data.chunks(SECTOR).enumerate() {
                        let start = *offset as usize + index * SECTOR;
                        if dice.roll(2) == 0
                            && let Some(place) = image.get_mut(start..start + sector.len())
                        {
                            place.copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        image
    }
}

impl Inside {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Length(len) => self.synced.resize(len as usize, 0),
                Change::Write(offset, data) => {
                    let start = offset as usize;
                    self.synced[start..start + data.len()].copy_from_slice(&data);
                }
            }
        }
    }

    /// Counts an operation and says whether it fails.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Fault::From(first) if number >= first => Err(io::Error::other("no power")),
            Fault::Once(only) if number == only => Err(io::Error::other("one bad moment")),
            Fault::Gone => Err(io::Error::other("no disk")),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inside = self.0.lock().unwrap();
        if inside.fault == Fault::Gone {
            return Err(io::Error::other("no disk"));
        }
        let start = offset as usize;
        let bytes = inside.seen.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inside = self.0.lock().unwrap();
        if matches!(inside.fault, Fault::Full(most) if len > most) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inside.operate()?;
        inside.unsynced.push(Change::Length(len));
        inside.seen.resize(len as usize, 0);
        Ok(())
    }

    /// A sync that fails forgets what it should have written, as kernels do: readers still see
    /// it, and no later sync brings it to the disk.
    fn sync_data(&self) -> io::Result<()> {
        let mut inside = self.0.lock().unwrap();
        let result = inside.operate();
        match result {
            Ok(()) => inside.sync(),
            Err(_) if matches!(inside.fault, Fault::Once(_)) => inside.unsynced.clear(),
            Err(_) => {}
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inside = self.0.lock().unwrap();
        let result = inside.operate();
        // A write that fails may have been done in part; readers then see that part.
        let start = offset as usize;
        let done = match result {
            Ok(()) => data.len(),
            Err(_) => data.len() / 2,
        };
        inside
            .unsynced
            .push(Change::Write(offset, data[..done].to_vec()));
        inside
            .seen
            .get_mut(start..start + done)
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(&data[..done]);
        result
    }
}

impl Medium for Platter {
    fn recover(&self) -> io::Result<()> {
        let mut inside = self.0.lock().unwrap();
        inside.operate()?;
        inside.synced = inside.seen.clone();
        inside.unsynced.clear();
        Ok(())
    }
}
