package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"reprise/contract"
	"reprise/domain"
	"reprise/engine/cleanup"
)

// maxPlanFile bounds a plan that is read from a file, in bytes.
const maxPlanFile = 1 << 30

// cleanupFlags say what a scan looks for.
type cleanupFlags struct {
	operator               string
	sessions, states, meta []string
	olderThan              durationFlag
	limit                  int
	policy                 string
	purgeIdle              bool
	getenv                 func(string) string
}

// operatorFlag adds --operator.
func (f *cleanupFlags) operatorFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.operator, "operator", "", "`NAME` of the operator (default: $REPRISE_OPERATOR, else the name of this account)")
}

// name is who does it.
func (f *cleanupFlags) name(getenv func(string) string) string {
	if f.operator == "" {
		f.operator = operatorName(getenv)
	}
	return f.operator
}

// scanFlags adds the flags of everything that scans.
func (a *app) scanFlags(cmd *cobra.Command, f *cleanupFlags) {
	f.getenv = a.getenv
	f.operatorFlag(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.sessions, "session", nil, "sessions with these `IDS` alone")
	flags.StringSliceVarP(&f.states, "state", "s", nil, "sessions in these `STATES` alone, and no orphans")
	flags.StringArrayVar(&f.meta, "meta", nil, "sessions with this metadata `KEY=VALUE` alone, and no orphans")
	flags.Var(&f.olderThan, "older-than", "count sessions as stale after this time without a commit, whatever their state")
	flags.Lookup("older-than").DefValue = "" // none, which is not 0s
	flags.IntVar(&f.limit, "limit", 0, "at most `N` items (default: any number)")
	flags.StringVar(&f.policy, "policy", "", "`FILE` with the policy, in YAML or JSON (default: the engine's)")
	flags.BoolVar(&f.purgeIdle, "purge-idle", false, "purge PAUSED and RUNNING sessions too that have been idle for long; with a policy file or the defaults")
	_ = cmd.RegisterFlagCompletionFunc("state", fixed(words(domain.States())...))
}

// request reads the flags.
func (f *cleanupFlags) request(cmd *cobra.Command) (contract.CleanupRequest, error) {
	f.name(f.getenv)
	r := contract.CleanupRequest{Limit: f.limit, Filter: contract.CleanupFilter{Sessions: f.sessions}}
	if flag := cmd.Flags().Lookup("user"); flag.Changed {
		r.Filter.Users = []string{flag.Value.String()}
	}
	var err error
	if r.Filter.States, err = oneOf(cmd, "state", f.states, domain.States()); err != nil {
		return r, err
	}
	if r.Filter.Metadata, err = pairs(cmd, f.meta); err != nil {
		return r, err
	}
	if cmd.Flags().Changed("older-than") {
		age := domain.Duration(f.olderThan)
		r.Filter.OlderThan = &age
	}
	r.Policy, err = f.readPolicy(cmd)
	return r, err
}

// readPolicy reads --policy and --purge-idle; nil leaves it to the engine.
func (f *cleanupFlags) readPolicy(cmd *cobra.Command) (*contract.CleanupPolicy, error) {
	policy := cleanup.DefaultPolicy()
	if f.policy != "" {
		var err error
		if policy, err = policyFile(f.policy); err != nil {
			return nil, usage(cmd, "--policy %s: %s", f.policy, err.Error())
		}
	} else if !f.purgeIdle {
		return nil, nil //nolint:nilnil // the engine's policy
	}
	policy.PurgeIdle = policy.PurgeIdle || f.purgeIdle
	return &policy, nil
}

func policyFile(name string) (contract.CleanupPolicy, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return contract.CleanupPolicy{}, err
	}
	return cleanup.ParsePolicy(text)
}

// purgeFlags say how a purge is done.
type purgeFlags struct {
	yes, dryRun   bool
	plan, archive string
	concurrency   int
}

func (p *purgeFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&p.yes, "yes", "y", false, "don't ask")
	f.BoolVar(&p.dryRun, "dry-run", false, "report what would be done and change nothing")
	f.StringVar(&p.plan, "plan", "", "`FILE` with the plan of an earlier scan")
	f.StringVar(&p.archive, "archive", "", "archive every history first in this `DIR`ectory of the engine's machine, or in the object store bucket:NAME")
	f.IntVar(&p.concurrency, "concurrency", 0, fmt.Sprintf("purge `N` sessions at once, up to %d (default: %d)", cleanup.MaxConcurrency, cleanup.DefaultConcurrency))
	_ = cmd.MarkFlagFilename("plan", "json")
}

// readPlan reads --plan; nil without one.
func (p *purgeFlags) readPlan(cmd *cobra.Command) (*contract.CleanupPlan, error) {
	if p.plan == "" {
		return nil, nil //nolint:nilnil // the engine scans
	}
	for _, name := range []string{"user", "session", "state", "meta", "older-than", "limit", "policy", "purge-idle"} {
		if cmd.Flags().Changed(name) {
			return nil, usage(cmd, "--%s is about the scan, and --plan has the one of an earlier scan; leave one of them out", name)
		}
	}
	info, err := os.Stat(p.plan)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPlanFile {
		return nil, fmt.Errorf("plan %s has %d bytes, and %d are the most", p.plan, info.Size(), maxPlanFile)
	}
	raw, err := os.ReadFile(p.plan)
	if err != nil {
		return nil, err
	}
	plan := &contract.CleanupPlan{}
	if err := domain.DecodeStrict(raw, plan); err != nil {
		return nil, usage(cmd, "--plan %s: %s", p.plan, err.Message)
	}
	return plan, nil
}

// writePlan keeps a plan for later.
func writePlan(name string, plan *contract.CleanupPlan) error {
	raw, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(raw, '\n'), 0o600)
}
