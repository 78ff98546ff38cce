// Package proc runs children for a comparison and reads what they use: the
// processor time and memory of a process and all below it, from /proc.
//
//	child.go       Start, Stop: a child that dies with its parent
//	usage.go       Usage
//	tree_linux.go  Tree: what a process and its descendants use
//	tree_other.go  the sentence that says where this works
package proc
