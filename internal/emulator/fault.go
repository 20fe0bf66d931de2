package emulator

// Fault is something that goes wrong with one call. Beside the ones below there are those that
// Refusal, Page and Bare make.
type Fault string

// What happens to the connection, and when.
const (
	FaultCut         Fault = "cut"          // the connection is cut before any effect
	FaultCutBody     Fault = "cut-body"     // applied; the reply is cut in the middle
	FaultLostReply   Fault = "lost-reply"   // applied; the connection is cut before the reply
	FaultLate        Fault = "late"         // applied only after Options.Slow, and no reply
	FaultSlowHeaders Fault = "slow-headers" // applied; the reply begins after Options.Slow
	FaultSlowBody    Fault = "slow-body"    // applied; the reply begins at once and trickles for as long as that
)

// What comes back instead of the platform's reply.
const (
	FaultHTML          Fault = "html"           // 200 with a page of HTML
	Fault503HTML       Fault = "503-html"       // 503 with a page of HTML
	Fault502           Fault = "502"            // 502 without a body
	FaultRedirect      Fault = "redirect"       // to another path
	FaultThrottled     Fault = "throttled"      // 429, Retry-After: 1
	FaultThrottledHour Fault = "throttled-hour" // 429, Retry-After: 3600
	FaultRefused       Fault = "refused"        // 403 in the platform's own words
	FaultSkew          Fault = "skew"           // 401 as for a signature of another hour, with a Date an hour ahead
	FaultGone          Fault = "gone"           // 404 in the platform's own words
	Fault500Applied    Fault = "500-applied"    // applied; 500 in the platform's own words
	Fault504Applied    Fault = "504-applied"    // applied; 504 by a gateway that has not waited for it
)

// What is wrong with the platform's reply. All of these are applied.
const (
	FaultEmpty         Fault = "empty"          // 200 without a body
	FaultHuge          Fault = "huge"           // as it should be, and padded to Options.Huge
	FaultClock         Fault = "clock"          // its Date is an hour ahead
	FaultWrongTypes    Fault = "wrong-types"    // its lists are strings
	FaultUnknownStatus Fault = "unknown-status" // its statuses are words nobody knows
	FaultUnknownField  Fault = "unknown-field"  // it has fields nobody knows
	FaultDoubleRow     Fault = "double-row"     // its first row comes twice
	FaultMissingRow    Fault = "missing-row"    // its first row is left out
	FaultExtraRow      Fault = "extra-row"      // it names a target that is not its own
	FaultContradiction Fault = "contradiction"  // of a retry: its first row comes again, and says the opposite
	FaultSuccessCode   Fault = "success-code"   // of a retry: rows of success have an error code
)

// What is wrong with lists.
const (
	FaultRowsMove      Fault = "rows-move"      // rows move over the page that is read: some are missed, some come again
	FaultRowsEnter     Fault = "rows-enter"     // re-runs below the page's marker end as it is read: rows enter and leave
	FaultShortPage     Fault = "short-page"     // half of the page's rows, though more follow
	FaultMarker        Fault = "marker"         // the page's marker does not fall
	FaultOtherInstance Fault = "other-instance" // as another instance of the project answers: it knows no task and no device
)

// Faults lists those that are the same for every operation, and take no time.
func Faults() []Fault {
	return []Fault{
		FaultHTML, Fault503HTML, Fault502, FaultThrottled, FaultRefused, FaultGone, FaultRedirect, FaultCut, FaultCutBody, FaultLostReply, FaultEmpty,
		FaultWrongTypes, FaultUnknownStatus, FaultUnknownField, FaultDoubleRow, FaultMissingRow, FaultExtraRow,
	}
}

// AllFaults lists all faults, with the refusals that are documented.
func AllFaults() []Fault {
	all := append(Faults(),
		FaultLate, FaultSlowHeaders, FaultSlowBody, FaultThrottledHour, Fault500Applied, Fault504Applied, FaultHuge, FaultClock, FaultSkew,
		FaultContradiction, FaultSuccessCode, FaultRowsMove, FaultRowsEnter, FaultShortPage, FaultMarker, FaultOtherInstance)
	return append(all, Refusals()...)
}

// The operations, by the platform's names.
const (
	opList    = "ListBatchTasks"
	opShow    = "ShowBatchTask"
	opRetry   = "RetryBatchTask"
	opApps    = "ShowApplications"
	opDevices = "ListDevices"
	opDevice  = "ShowDevice"
)

// Operations lists the operations, by the platform's names.
func Operations() []string { return []string{opList, opShow, opRetry, opApps, opDevices, opDevice} }

// On tells whether the fault makes a difference to calls of the operation.
func (f Fault) On(op string) bool {
	switch f {
	case FaultContradiction, FaultSuccessCode:
		return op == opRetry
	case FaultRowsMove, FaultRowsEnter:
		return op == opShow
	case FaultShortPage, FaultMarker:
		return op == opList || op == opShow || op == opDevices
	case FaultWrongTypes, FaultDoubleRow, FaultMissingRow, FaultExtraRow:
		return op != opDevice // which has no list
	}
	return true
}

// faultFor gives what goes wrong with a call, and records it.
func (e *Emulator) faultFor(c Call) Fault {
	e.mu.Lock()
	choose := e.fault
	e.mu.Unlock()
	if choose == nil {
		return ""
	}
	fault := choose(c)
	if !fault.On(c.Op) {
		fault = ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls[c.N].Fault = fault
	return fault
}
