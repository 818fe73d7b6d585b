package ucmd

import "fmt"

// State is where a ucmd is (scst_user.md 2.1). While a subcommand is queued
// or outstanding the state is its Subcode. Only Device.setState assigns it.
type State uint8

// The states.
const (
	StateNew            State = 0
	StateParsing        State = State(SubParse)
	StateBufAllocing    State = State(SubAllocMem)
	StateExecing        State = State(SubExec)
	StateOnFreeing      State = State(SubOnFree)
	StateOnCacheFreeing State = State(SubOnCachedMemFree)
	StateRemapping      State = State(SubExtCopyRemap)
	StateOnFreeSkipped  State = 7
	StateTMReceived     State = State(SubTMReceived)
	StateTMDone         State = State(SubTMDone)
	StateAttachSess     State = State(SubAttachSess)
	StateDetachSess     State = State(SubDetachSess)
)

var stateNames = map[State]string{
	StateNew: "NEW", StateParsing: "PARSING", StateBufAllocing: "BUF_ALLOCING",
	StateExecing: "EXECING", StateOnFreeing: "ON_FREEING",
	StateOnCacheFreeing: "ON_CACHE_FREEING", StateRemapping: "EXT_COPY_REMAPPING",
	StateOnFreeSkipped: "ON_FREE_SKIPPED", StateTMReceived: "TM_RECEIVED_EXECING",
	StateTMDone: "TM_DONE_EXECING", StateAttachSess: "ATTACH_SESS", StateDetachSess: "DETACH_SESS",
}

// String returns the state's name.
func (s State) String() string {
	if n, ok := stateNames[s]; ok {
		return n
	}
	return fmt.Sprintf("state %#x", uint8(s))
}

var subcodeNames = map[Subcode]string{
	SubParse: "PARSE", SubAllocMem: "ALLOC_MEM", SubExec: "EXEC", SubOnFree: "ON_FREE_CMD",
	SubOnCachedMemFree: "ON_CACHED_MEM_FREE", SubExtCopyRemap: "EXT_COPY_REMAP",
	SubTMReceived: "TM_RECEIVED", SubTMDone: "TM_DONE",
	SubAttachSess: "ATTACH_SESS", SubDetachSess: "DETACH_SESS",
}

// String returns the subcommand's name.
func (c Subcode) String() string {
	if n, ok := subcodeNames[c]; ok {
		return n
	}
	return fmt.Sprintf("subcode %#x", uint8(c))
}

// management: these are fetched before everything else (rule R32).
func (s State) management() bool {
	switch s {
	case StateTMReceived, StateTMDone, StateAttachSess, StateDetachSess:
		return true
	}
	return false
}
