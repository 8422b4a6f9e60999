// st_mode: file types and permission bits (sys/stat.h), open flags and rename flags (fcntl.h, Linux values).

export const S_IFMT = 0o170000
export const S_IFSOCK = 0o140000
export const S_IFLNK = 0o120000
export const S_IFREG = 0o100000
export const S_IFBLK = 0o060000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFIFO = 0o010000

export const S_ISUID = 0o4000
export const S_ISGID = 0o2000
export const S_ISVTX = 0o1000
export const S_IXGRP = 0o0010
/** The bits that chmod(2) may set. */
export const MODE_BITS = 0o7777

export const isDirectory = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR
export const isRegular = (mode: number): boolean => (mode & S_IFMT) === S_IFREG
export const isSymlink = (mode: number): boolean => (mode & S_IFMT) === S_IFLNK

/** The d_type of a directory entry (dirent.h) from st_mode. */
export const direntType = (mode: number): number => (mode & S_IFMT) >>> 12

export const O_ACCMODE = 0o3
export const O_RDONLY = 0o0
export const O_WRONLY = 0o1
export const O_RDWR = 0o2
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
export const O_NONBLOCK = 0o4000

/** Whether open flags allow writing. */
export const opensForRead = (flags: number): boolean => (flags & O_ACCMODE) !== O_WRONLY
export const opensForWrite = (flags: number): boolean => (flags & O_ACCMODE) !== O_RDONLY

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2

export const NAME_MAX = 255
export const SYMLINK_MAX = 4095
