package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// durability is what is left of an answered command.
type durability string

// The classes of durability, best first. Only setups of one class are compared.
const (
	// always: it survives a power cut.
	always durability = "always"
	// relaxed: it survives a killed process; a power cut may take the last of it.
	relaxed durability = "relaxed"
	// none: it does not survive the end of the process.
	none durability = "none"
)

// setup is one engine with one choice of settings.
type setup struct {
	// Name is unique; Peer is the engine.
	Name string `json:"name"`
	Peer string `json:"peer"`
	// Durability is the class, and Survives says it for this setup.
	Durability durability `json:"durability"`
	Survives   string     `json:"survives"`
	// Settings says what differs from the defaults, and AsShipped that nothing
	// but the place of its data does.
	Settings  string `json:"settings"`
	AsShipped bool   `json:"asShipped"`
	// Versions of what took part; prepare sets it.
	Versions string `json:"versions"`

	// prepare builds and installs what start needs and returns the versions. An
	// error is a sentence about what is missing.
	prepare func(ctx context.Context, t *tools) (string, error)
	// before makes what a first start does not include, such as an empty cluster.
	before func(ctx context.Context, s *stage) error
	// start starts all processes; the load program is s.load then.
	start func(ctx context.Context, s *stage) error
}

// setups are all that can be measured, in the order in which they are.
func setups() []*setup {
	return slices.Concat(repriseSetups(), restateSetups(), dbosSetups(), temporalSetups())
}

// choose keeps the setups that names picks: peers or single setups.
func choose(all []*setup, names string) ([]*setup, error) {
	wanted := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	if len(wanted) == 0 {
		return all, nil
	}
	var chosen []*setup
	for _, name := range wanted {
		before := len(chosen)
		for _, s := range all {
			if (s.Name == name || s.Peer == name) && !slices.Contains(chosen, s) {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == before && !slices.ContainsFunc(chosen, func(s *setup) bool { return s.Name == name || s.Peer == name }) {
			return nil, fmt.Errorf("nothing is called %q: use %s", name, strings.Join(known(all), ", "))
		}
	}
	return chosen, nil
}

// known lists the names that choose takes.
func known(all []*setup) []string {
	var names []string
	for _, s := range all {
		for _, name := range []string{s.Peer, s.Name} {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
