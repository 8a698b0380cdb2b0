//! Memory of the media state: one mapping, taken at the start for all that the board profile allows, touched and locked, so
//! that no call ever waits for a page. What the media thread works with is made in it ([`within`]), by whichever thread
//! makes it, and goes back to it when it is dropped, wherever that is. Blocks are found by TLSF in constant time.
//!
//! The program registers [`MediaAllocator`] as its allocator; in programs that do not, everything here does nothing.
#![expect(
    unsafe_code,
    reason = "an allocator gives out memory as pointers, and its region is mapped by the system"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::ptr::{NonNull, null_mut, slice_from_raw_parts_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rlsf::{GRANULARITY, Tlsf};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};

/// What a block takes beside what was asked for, bytes.
const HEADER: usize = 2 * size_of::<usize>();
/// The region is a multiple of this many bytes.
pub const PIECE: usize = 1 << 20;
/// Pages are locked in pieces of this many bytes, so that others may map memory in between: a tenth of a millisecond each.
const LOCKED: usize = 128 << 10;

/// Where the calling thread's allocations go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    System,
    Region,
    /// To the system, and counted.
    Measure,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::System) };
    static MEASURED: Cell<usize> = const { Cell::new(0) };
}

struct Region {
    busy: AtomicBool,
    blocks: UnsafeCell<Tlsf<'static, u32, u32, 26, 32>>,
    start: AtomicUsize,
    end: AtomicUsize,
    used: AtomicUsize,
    peak: AtomicUsize,
    spilled: AtomicU64,
}

// SAFETY: the blocks are touched between `busy` being taken and given back only.
unsafe impl Sync for Region {}

static REGION: Region = Region {
    busy: AtomicBool::new(false),
    blocks: UnsafeCell::new(Tlsf::new()),
    start: AtomicUsize::new(0),
    end: AtomicUsize::new(0),
    used: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
    spilled: AtomicU64::new(0),
};

impl Region {
    fn holds(&self, at: *mut u8) -> bool {
        // The end first: who sees it sees the start as well, which was there before.
        let (at, end) = (at as usize, self.end.load(Ordering::Acquire));
        at < end && at >= self.start.load(Ordering::Acquire)
    }

    /// Where it begins and ends; 0 both before it is there.
    fn bounds(&self) -> (usize, usize) {
        let end = self.end.load(Ordering::Acquire);
        (if end == 0 { 0 } else { self.start.load(Ordering::Acquire) }, end)
    }

    fn is_there(&self) -> bool {
        self.end.load(Ordering::Acquire) > 0
    }

    /// Works on the blocks alone. Those who wait are few, and the media thread is never among them.
    fn alone<T>(&self, f: impl FnOnce(&mut Tlsf<'static, u32, u32, 26, 32>) -> T) -> T {
        while self.busy.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::thread::yield_now();
        }
        // SAFETY: nobody else is between these two lines.
        let done = f(unsafe { &mut *self.blocks.get() });
        self.busy.store(false, Ordering::Release);
        done
    }

    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let found = self.alone(|blocks| blocks.allocate(layout));
        match found {
            Some(_) => {
                let used = self.used.fetch_add(block(layout), Ordering::Relaxed) + block(layout);
                self.peak.fetch_max(used, Ordering::Relaxed);
            }
            None if self.is_there() => {
                self.spilled.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        found
    }

    /// # Safety
    /// The block is one of `allocate`, for this layout.
    unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller says.
        self.alone(|blocks| unsafe { blocks.deallocate(at, layout.align()) });
        self.used.fetch_sub(block(layout), Ordering::Relaxed);
    }
}

/// What an allocation takes of the region, bytes.
fn block(layout: Layout) -> usize {
    let padding = layout.align().saturating_sub(GRANULARITY / 2);
    (layout.size() + padding + HEADER).next_multiple_of(GRANULARITY)
}

/// The program's allocator: the system's, but for what is made [`within`] the region.
#[derive(Debug)]
pub struct MediaAllocator;

// SAFETY: blocks come from the system's allocator or from the region's, and go back to where they came from, which their
// addresses tell. Nothing here allocates or unwinds. None is inlined: there are tens of thousands of places that call them.
unsafe impl GlobalAlloc for MediaAllocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mode = MODE.try_with(Cell::get).unwrap_or(Mode::System);
        if mode == Mode::Region
            && let Some(at) = REGION.allocate(layout)
        {
            return at.as_ptr();
        }
        if mode == Mode::Measure {
            count(|sum| sum.saturating_add(block(layout)));
        }
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if MODE.try_with(Cell::get).unwrap_or(Mode::System) == Mode::System {
            // SAFETY: as the caller says.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as the caller says.
        let at = unsafe { self.alloc(layout) };
        if !at.is_null() {
            // SAFETY: the block is as long as was asked for.
            unsafe { at.write_bytes(0, layout.size()) };
        }
        at
    }

    #[inline(never)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if MODE.try_with(Cell::get) == Ok(Mode::Measure) {
            count(|sum| sum.saturating_sub(block(layout)));
        }
        match NonNull::new(at) {
            // SAFETY: the address is in the region, so that it gave the block out.
            Some(at) if REGION.holds(at.as_ptr()) => unsafe { REGION.free(at, layout) },
            // SAFETY: it came from the system.
            _ => unsafe { System.dealloc(at, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !REGION.holds(at) && MODE.try_with(Cell::get) != Ok(Mode::Measure) {
            // SAFETY: it came from the system.
            return unsafe { System.realloc(at, layout, size) };
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        // SAFETY: as the caller says; the two blocks are apart, and each is as long as what is copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                at.copy_to_nonoverlapping(moved, layout.size().min(size));
                self.dealloc(at, layout);
            }
            moved
        }
    }
}

fn count(change: impl FnOnce(usize) -> usize) {
    // A thread that ends has nothing to measure.
    let _counted = MEASURED.try_with(|sum| sum.set(change(sum.get())));
}

/// Gives the thread its mode back, however the work ends.
struct Before(Mode);

impl Drop for Before {
    fn drop(&mut self) {
        MODE.set(self.0);
    }
}

/// Does `make` with all that it allocates in the region. What finds no room there comes from the system, and is counted.
pub fn within<T>(make: impl FnOnce() -> T) -> T {
    let _before = Before(MODE.replace(Mode::Region));
    make()
}

/// Does `make` and drops what it made: how much of the region it would take, bytes. 0 where the program has another
/// allocator.
pub fn measure<T>(make: impl FnOnce() -> T) -> usize {
    let made = {
        let _before = Before(MODE.replace(Mode::Measure));
        MEASURED.set(0);
        make()
    };
    let taken = MEASURED.get();
    // An allocation that nobody looks at need not be made.
    drop(std::hint::black_box(made));
    taken
}

/// Maps the region: `bytes` for what will be made in it. Once.
///
/// # Errors
/// The system does not give so much.
pub fn reserve(bytes: usize) -> io::Result<()> {
    if bytes == 0 || REGION.is_there() {
        return Ok(());
    }
    let len = bytes.next_multiple_of(PIECE);
    // SAFETY: a new mapping, at an address that the system chooses.
    let at =
        unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    let at = at.cast::<u8>();
    let Some(whole) = NonNull::new(slice_from_raw_parts_mut(at, len)) else { return Ok(()) };
    // Before a block can be given out.
    REGION.start.store(at as usize, Ordering::Release);
    REGION.end.store(at as usize + len, Ordering::Release);
    // SAFETY: the mapping is nobody else's, and stays.
    REGION.alone(|blocks| unsafe { blocks.insert_free_block_ptr(whole) });
    Ok(())
}

/// Whether pages stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// They are there, and locked.
    Locked,
    /// They are there, and the system may take them away.
    Touched,
    /// They come when they are first used.
    No,
}

/// Brings all pages of the region into memory, and locks them there if that is allowed. Takes some milliseconds for each 10 MB,
/// and may be done while the region is used.
#[must_use]
pub fn hold() -> Held {
    let (start, end) = REGION.bounds();
    let mut held = Held::Locked;
    for at in (start..end).step_by(LOCKED) {
        // SAFETY: these are pages of the region, which stays mapped.
        held = held.min_of(unsafe { hold_pages(at as *mut u8, LOCKED.min(end - at)) });
    }
    held
}

impl Held {
    fn min_of(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Touched, _) | (_, Self::Touched) => Self::Touched,
            (Self::Locked, Self::Locked) => Self::Locked,
        }
    }
}

/// # Safety
/// The pages are mapped, writable, and stay so.
unsafe fn hold_pages(at: *mut u8, len: usize) -> Held {
    // SAFETY: neither call changes what stands in the pages.
    unsafe {
        if mlock(at.cast(), len).is_ok() {
            return Held::Locked;
        }
        match madvise(at.cast(), len, Advice::LinuxPopulateWrite) {
            Ok(()) => Held::Touched,
            Err(_) => Held::No,
        }
    }
}

/// Brings the stack of the calling thread into memory, and locks it there if that is allowed.
#[must_use]
pub fn hold_stack() -> Held {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut at, mut len) = (null_mut(), 0usize);
    // SAFETY: the attributes are filled in by the first call before the second reads them and the third frees them.
    let found = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 && {
            let found = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut at, &raw mut len) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            found
        }
    };
    if !found || at.is_null() {
        return Held::No;
    }
    // SAFETY: this is the stack that we stand on.
    unsafe { hold_pages(at.cast(), len) }
}

/// How the region is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes reserved.
    pub reserved: usize,
    /// Bytes in use.
    pub used: usize,
    /// Most bytes that were in use at once.
    pub peak: usize,
    /// Allocations that found no room, and came from the system.
    pub spilled: u64,
}

/// How the region is used.
#[must_use]
pub fn usage() -> Usage {
    let (start, end) = REGION.bounds();
    Usage {
        reserved: end - start,
        used: REGION.used.load(Ordering::Relaxed),
        peak: REGION.peak.load(Ordering::Relaxed),
        spilled: REGION.spilled.load(Ordering::Relaxed),
    }
}
