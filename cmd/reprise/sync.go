package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"reprise/contract"
	"reprise/domain"
	"reprise/natsnode"
)

// syncAlways as --sync writes every commit through to the disk before it is
// acknowledged.
const syncAlways = "always"

// durability is what --sync says: what an answered command survives (ADR 0013).
type durability struct {
	text string
	// given is set by check if the flag is on the command line.
	given bool
}

func (d *durability) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.text, "sync", domain.Duration(natsnode.DefaultSyncInterval).String(),
		"`MODE`: with always an answered command survives a power cut; with a time it survives a killed process, and a power cut takes at most that time")
	_ = cmd.RegisterFlagCompletionFunc("sync", fixed(syncAlways, "100ms"))
}

// mode reads the flag.
func (d *durability) mode() (interval time.Duration, always bool, err error) {
	if d.text == syncAlways {
		return 0, true, nil
	}
	every, err := domain.ParseDuration(d.text)
	if err == nil && every <= 0 {
		err = errors.New("0 is none; always syncs at once")
	}
	return every.Std(), false, err
}

// check refuses a mode that can't be read.
func (d *durability) check(cmd *cobra.Command) error {
	d.given = cmd.Flags().Changed("sync")
	if _, _, err := d.mode(); err != nil {
		return usage(cmd, "--sync: write always, or a time: %s", err.Error())
	}
	return nil
}

// elsewhere refuses a mode for an engine that is not in this process.
func (d *durability) elsewhere(where string) error {
	if !d.given {
		return nil
	}
	return &usageError{"--sync is for an engine in this process, and the one at " + where + " has a mode of its own; leave --sync out"}
}

// apply makes an embedded server keep the mode.
func (d *durability) apply(opts *natsnode.Options) (err error) {
	opts.SyncInterval, opts.SyncAlways, err = d.mode()
	return err
}

// storage are the options of the embedded server that say where it stores, and
// when it syncs; checkServe has seen that they can be read.
func (s *serveFlags) storage() natsnode.Options {
	opts := natsnode.Options{Memory: s.memory}
	_ = s.sync.apply(&opts)
	return opts
}

// disk says in reports when the server syncs; nil for one elsewhere.
func (s *serveFlags) disk() *contract.Disk {
	if !s.embed {
		return nil
	}
	return diskOf(s.storage())
}
