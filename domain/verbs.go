package domain

// Verb returns VerbCreate.
func (*Create) Verb() Verb { return VerbCreate }

// Verb returns VerbStart.
func (*Start) Verb() Verb { return VerbStart }

// Verb returns VerbPause.
func (*Pause) Verb() Verb { return VerbPause }

// Verb returns VerbResume.
func (*Resume) Verb() Verb { return VerbResume }

// Verb returns VerbCancel.
func (*Cancel) Verb() Verb { return VerbCancel }

// Verb returns VerbComplete.
func (*Complete) Verb() Verb { return VerbComplete }

// Verb returns VerbDelete.
func (*Delete) Verb() Verb { return VerbDelete }

// Verb returns VerbFork.
func (*Fork) Verb() Verb { return VerbFork }

// Verb returns VerbMetadataSet.
func (*SetMetadata) Verb() Verb { return VerbMetadataSet }

// Verb returns VerbChainAdd.
func (*AddChain) Verb() Verb { return VerbChainAdd }

// Verb returns VerbChainClose.
func (*CloseChain) Verb() Verb { return VerbChainClose }

// Verb returns VerbChainRemove.
func (*RemoveChain) Verb() Verb { return VerbChainRemove }

// Verb returns VerbChainMove.
func (*MoveChain) Verb() Verb { return VerbChainMove }

// Verb returns VerbStepAdd.
func (*AddStep) Verb() Verb { return VerbStepAdd }

// Verb returns VerbStepRetry.
func (*RetryStep) Verb() Verb { return VerbStepRetry }

// Verb returns VerbStepSkip.
func (*SkipStep) Verb() Verb { return VerbStepSkip }

// Verb returns VerbStepSucceed.
func (*SucceedManual) Verb() Verb { return VerbStepSucceed }

// Verb returns VerbStepFail.
func (*FailManual) Verb() Verb { return VerbStepFail }

// Verb returns VerbBatch.
func (*Batch) Verb() Verb { return VerbBatch }

// Verb returns VerbHold.
func (*PutHold) Verb() Verb { return VerbHold }

// Verb returns VerbUnhold.
func (*ReleaseHold) Verb() Verb { return VerbUnhold }

// Verb returns VerbClaim.
func (*Claim) Verb() Verb { return VerbClaim }

// Verb returns VerbHeartbeat.
func (*Heartbeat) Verb() Verb { return VerbHeartbeat }

// Verb returns VerbSucceed.
func (*Succeed) Verb() Verb { return VerbSucceed }

// Verb returns VerbFail.
func (*Fail) Verb() Verb { return VerbFail }

// Verb returns VerbRelease.
func (*Release) Verb() Verb { return VerbRelease }

// Verb returns VerbSessionTimeout.
func (*TimeoutSession) Verb() Verb { return VerbSessionTimeout }

// Verb returns VerbStepTimeout.
func (*TimeoutStep) Verb() Verb { return VerbStepTimeout }

// Verb returns VerbPurge.
func (*Purge) Verb() Verb { return VerbPurge }
