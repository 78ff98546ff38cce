// Package auth gives everybody who reaches an engine credentials of their own,
// and lets the server enforce what each of them may do.
//
// One table (table.go) says which subjects each role may send to and receive
// from. The accounts and their exports, the permissions in the JWTs,
// docs/security.md and the proof that a server keeps all of it (Prove) are made
// from it.
//
// The engine and JetStream live in one account. Users, workers and auditors live
// in accounts without JetStream, into which no more is imported than their roles
// need. So a reply subject that one of them chooses is a subject of their own
// account, and nothing can be published for them in the engine's.
//
//	table.go       roles and rights
//	subjects.go    rights become subjects
//	accounts.go    rights become accounts: exports, imports, signing keys
//	realm.go       what `reprise auth init` makes, and where it is kept
//	store.go       its files
//	issue.go       credentials: add, list, revoke
//	connect.go     how engines and people connect with them
//	server.go      what a server has to know; how a running one learns of changes
//	prove.go       proves that a server keeps the table
//	surface.go     what is tried for that
//	document.go    the table as Markdown
package auth
