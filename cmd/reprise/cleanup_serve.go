package main

import (
	"time"

	"github.com/spf13/cobra"

	"reprise/engine"
)

// serveCleanup are the flags of `reprise serve` about cleanup.
type serveCleanup struct {
	every           durationFlag
	policy, archive string
}

func (s *serveCleanup) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&s.every, "cleanup-every", "purge by the policy again and again after this time; 0s for never, which is the default")
	f.StringVar(&s.policy, "cleanup-policy", "", "`FILE` with the policy of cleanup, in YAML or JSON (default: see reprise cleanup status)")
	f.StringVar(&s.archive, "cleanup-archive", "", "archive what is purged by schedule in this `DIR`, or in the object store bucket:NAME")
	_ = cmd.MarkFlagFilename("cleanup-policy", "yaml", "yml", "json")
}

// config reads the flags.
func (s *serveCleanup) config(cmd *cobra.Command) (engine.CleanupConfig, error) {
	cfg := engine.CleanupConfig{Every: time.Duration(s.every), Archive: s.archive}
	if s.policy == "" {
		return cfg, nil
	}
	policy, err := policyFile(s.policy)
	if err != nil {
		return cfg, usage(cmd, "--cleanup-policy %s: %s", s.policy, err.Error())
	}
	cfg.Policy = &policy
	return cfg, nil
}
