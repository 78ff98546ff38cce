// Package archive carries the histories of sessions between stores: it writes
// and reads the export format, restores sessions exactly as they were, keeps
// archives of sessions that are about to be purged, and copies one store to
// another. docs/export-format.md describes the format.
package archive
