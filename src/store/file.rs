//! The store as a file: its permissions, and the places where a store cannot be.

use std::fs::{self, Metadata, OpenOptions};
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::Access;

use super::error::StoreError;

/// A page, of which the smallest is this large, in bytes.
const SMALLEST_DATABASE: u64 = 512;

/// Makes the folder 0700 and the file 0600; SQLite gives its side files the file's permissions.
pub(super) fn make_file(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly(path.to_owned())
        }
        std::io::ErrorKind::StorageFull => StoreError::Full(path.to_owned()),
        _ => StoreError::Open { path: path.to_owned(), reason: error.to_string() },
    };
    if let Ok(found) = path.metadata() {
        check_file(path, &found)?;
        return if is_writable(path) { Ok(()) } else { Err(StoreError::ReadOnly(path.to_owned())) };
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop).map_err(failed)
}

/// Refuses what cannot be a database; SQLite would wait for a FIFO and fail obscurely at a device.
pub(super) fn check_file(path: &Path, found: &Metadata) -> Result<(), StoreError> {
    let not = |reason: &str| Err(StoreError::Open { path: path.to_owned(), reason: reason.into() });
    match found.file_type() {
        kind if kind.is_dir() => not("it is a folder"),
        kind if kind.is_fifo() => not("it is a FIFO"),
        kind if kind.is_socket() => not("it is a socket"),
        kind if !kind.is_file() => not("it is a device"),
        // SQLite takes a file of one byte for an empty one.
        _ if (1..SMALLEST_DATABASE).contains(&found.len()) => Err(StoreError::NotADatabase(path.to_owned())),
        _ => Ok(()),
    }
}

/// Whether the file and its folder can be written: SQLite would open a file that cannot, and fail at the
/// first write.
pub(super) fn is_writable(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    writable(path) && writable(folder)
}

#[cfg(target_os = "linux")]
pub(super) fn refuse_network(path: &Path) -> Result<(), StoreError> {
    // Magic numbers of statfs(2).
    let Ok(found) = rustix::fs::statfs(path) else {
        return Ok(());
    };
    let kind = match u32::try_from(found.f_type & 0xffff_ffff) {
        Ok(0x6969) => "NFS",
        Ok(0x517b) => "SMB",
        Ok(0xff53_4d42) => "CIFS",
        Ok(0xfe53_4d42) => "SMB2",
        Ok(0x00c3_6400) => "Ceph",
        Ok(0x5346_414f) => "AFS",
        // Not 9P: sandboxes show their local files as such.
        Ok(0x6573_5546) if is_remote_fuse(path) => "FUSE over a network",
        _ => return Ok(()),
    };
    Err(StoreError::Network { path: path.to_owned(), kind })
}

/// Whether the mount that `path` is on is one of the FUSE filesystems that are known to be remote; most
/// others are local.
#[cfg(target_os = "linux")]
fn is_remote_fuse(path: &Path) -> bool {
    const REMOTE: [&str; 6] =
        ["fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.curlftpfs"];
    let Ok(found) = path.metadata() else {
        return false;
    };
    let device = format!("{}:{}", rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|mount| mount_kind(mount, &device).is_some_and(|kind| REMOTE.contains(&kind)))
}

/// The filesystem of a line of mountinfo, proc(5), if it mounts this device.
#[cfg(target_os = "linux")]
fn mount_kind<'a>(mount: &'a str, device: &str) -> Option<&'a str> {
    let (place, source) = mount.split_once(" - ")?;
    source.split(' ').next().filter(|_| place.split(' ').nth(2) == Some(device))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_network(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_device() {
        let line = "97 29 0:52 / /home/me/far rw,nosuid shared:5 - fuse.sshfs me@far:/ rw,user_id=1000";
        assert_eq!(mount_kind(line, "0:52"), Some("fuse.sshfs"));
        assert_eq!(mount_kind(line, "0:5"), None);
        assert_eq!(mount_kind("", "0:5"), None);
    }
}
