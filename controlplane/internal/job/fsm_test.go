package job

import (
	"strings"
	"testing"
)

// The table below pins every transition in a small language.
//
// A plan is "a b [c d!] e! / x y": letters are steps, brackets a section, ! an always-step, what
// stands behind / the cleanup.
//
// A script is words:
//
//	take       a process takes the job and begins what is next (after a crash: takes it over)
//	+          the step at hand is done; the next is begun
//	~          … is not needed
//	.          … waits
//	?          … asks the operator
//	<          … starts its section over
//	^          … does, which does not count
//	-          … fails; the limit is two attempts
//	++         the back-off ends and a new attempt begins
//	=          … fails for good
//	stop       the process is stopped in good order
//	crash      the process dies: nothing is written
//	retry, retry:b, redo:b, skip:b, cancel, cleanup
//	!word      the request is refused and changes nothing
//
// The outcome is the job's state, then its steps: their sign (+ done, ~ skipped, * running, .
// waiting, - failed, ? asks the operator, x cancelled, nothing for pending) and, when it is not 1,
// their generation.
func TestTransitions(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, plan, script, want string }{
		{"created", "a b", "", "queued a b"},
		{"taken", "a b", "take", "running a* b"},
		{"next begins at once", "a b", "take +", "running a+ b*"},
		{"all done", "a b", "take + +", "succeeded a+ b+"},
		{"not needed", "a b", "take ~ +", "succeeded a~ b+"},
		{"waits", "a b", "take .", "waiting a. b"},
		{"waits and is done", "a b", "take . +", "running a+ b*"},
		{"a failure backs off", "a b", "take -", "waiting a. b"},
		{"a new attempt", "a b", "take - ++", "running a* b"},
		{"failures are limited", "a b", "take - ++ -", "failed a- b"},
		{"permanent failure", "a b", "take =", "failed a- b"},
		{"asks the operator", "a b", "take ?", "action_required a? b"},

		{"crash before the effect", "a b", "take crash take", "running a* b"},
		{"crash while waiting", "a b", "take . crash take", "running a* b"},
		{"crash in the second step", "a b", "take + crash take", "running a+ b*"},
		{"crash costs no attempt", "a b", "take - ++ crash take crash take crash take",
			"running a* b"},
		{"crash in back-off, then the last attempt", "a b", "take - crash take -", "failed a- b"},
		{"crash after the last step", "a", "take + crash", "succeeded a+"},
		{"stopped in good order", "a b", "take stop", "queued a. b"},
		{"stopped and taken", "a b", "take + stop take +", "succeeded a+ b+"},
		{"stopped while cancelling", "a r!", "take cancel stop take +", "cancelled ax r+"},

		{"always-step runs in order", "a r! b", "take + + +", "succeeded a+ r+ b+"},
		{"always-step runs on failure", "a b r!", "take + =", "running a+ b- r*"},
		{"failure ends after the always-step", "a b r!", "take + = +", "failed a+ b- r+"},
		{"a later plain step does not", "a b r! c", "take + = +", "failed a+ b- r+ c"},
		{"an always-step that fails stops nobody", "a b r! s!", "take + = = +",
			"failed a+ b- r- s+"},
		{"always-step that fails in order", "a r! s!", "take + = +", "failed a+ r- s+"},
		{"crash while unwinding", "a b r!", "take + = crash take +", "failed a+ b- r+"},
		{"always-step retries while unwinding", "a r!", "take = - ++ +", "failed a- r+"},
		{"always-step waits while unwinding", "a r!", "take = . +", "failed a- r+"},

		{"section forward", "a [h c r!] z", "take + + + + +", "succeeded a+ h+ c+ r+ z+"},
		{"section not begun, nothing to release", "a [h c r!] z", "take =", "failed a- h c r z"},
		{"section fails, released", "a [h c r!] z", "take + + = +", "failed a+ h+ c- r+ z"},
		{"first of the section fails, released", "a [h c r!] z", "take + = +",
			"failed a+ h- c r+ z"},
		{"section is over, nothing to release", "[h c r!] z", "take + + + =", "failed h+ c+ r+ z-"},
		{"section starts over", "a [h c r!] z", "take + + <", "running a+ h*2 c2 r z"},
		{"section starts over and is done", "[h c r!] z", "take + < + + + +",
			"succeeded h+2 c+2 r+ z+"},
		{"section starts over too often", "[h c r!]", "take + < + < + < +", "failed h+3 c-3 r+"},
		{"section starts over uncounted", "[h c r!]", "take + ^ + ^ + ^ + ^", "running h*5 c5 r"},
		{"uncounted starts leave the others", "[h c r!]", "take + < + ^ + < + ^ + < +",
			"failed h+5 c-5 r+"},
		{"uncounted starts use none up", "[h c r!]", "take + ^ + ^ + < + < + +",
			"running h+5 c+5 r*"},
		{"uncounted start outside a section", "a b", "take + ^", "failed a+ b-"},
		{"cancelled while it would start over uncounted", "[h c r!]", "take + cancel ^ +",
			"cancelled h+ cx r+"},
		{"start over outside a section", "a b", "take + <", "failed a+ b-"},
		{"crash in a section", "[h c r!]", "take + crash take <", "running h*2 c2 r"},
		{"question in a section: released first", "[h c r!] s!", "take + ?", "running h+ c? r* s"},
		{"question in a section", "[h c r!] s!", "take + ? +", "action_required h+ c? r+ s"},
		{"question in a section, cancelled meanwhile", "[h c r!] s!", "take + ? cancel + +",
			"cancelled h+ cx r+ s+"},

		{"cancel before the start", "a b", "cancel", "cancelled ax bx"},
		{"cancel before the start, always-steps not due", "a r!", "cancel", "cancelled ax rx"},
		{"cancel while running", "a b c", "take + cancel", "cancelling a+ b* c"},
		{"cancelled", "a b c", "take + cancel -", "cancelled a+ bx cx"},
		{"cancelled though it got done", "a b c", "take + cancel +", "cancelled a+ b+ cx"},
		{"cancelled while it would wait", "a b c", "take + cancel .", "cancelled a+ bx cx"},
		{"cancelled while it asks the operator", "a b c", "take + cancel ?", "cancelled a+ bx cx"},
		{"cancelled while it would start its section over", "a [h c r!]", "take + + cancel < +",
			"cancelled a+ h+ cx r+"},
		{"cancel releases", "a [h c r!] z", "take + + cancel - +", "cancelled a+ h+ cx r+ zx"},
		{"cancel during the release", "[h r!] z", "take + cancel +", "cancelled h+ r+ zx"},
		{"cancelled, but not released", "[h c r!]", "take + cancel - =", "failed h+ cx r-"},
		{"cancelled, but the release asks the operator", "[h c r!]", "take + cancel - ?",
			"failed h+ cx r?"},
		{"a release that failed is run by a later cancel", "[h c r!]",
			"take + = = retry cancel take +", "cancelled hx2 cx2 r+2"},
		{"cancel twice", "a b", "take cancel cancel", "cancelling a* b"},
		{"cancel, crash, take over", "a b r!", "take cancel crash take +", "cancelled ax bx r+"},
		{"cancel after a crash, before the takeover", "a b r!", "take + crash cancel take +",
			"cancelled a+ bx r+"},
		{"cancel of who asks the operator", "a r!", "take ? cancel take +", "cancelled ax r+"},
		{"cancel of who asks the operator, nothing to release", "a b", "take ? cancel",
			"cancelled ax bx"},
		{"cancel after stop", "a b", "take stop cancel", "cancelled ax bx"},
		{"cancel of the failed", "a", "take = !cancel", "failed a-"},
		{"cancel of the succeeded", "a", "take + !cancel", "succeeded a+"},
		{"cancel of the failing", "a r!", "take = !cancel", "running a- r*"},
		{"cancel of the cancelled", "a", "cancel cancel", "cancelled ax"},

		{"retry from the failed step", "a b c", "take + = retry", "queued a+ b c"},
		{"retry and done", "a b c", "take + = retry take + +", "succeeded a+ b+ c+"},
		{"retry counts failures again", "a", "take - ++ - retry take -", "waiting a."},
		{"retry after the operator was asked", "a b", "take ? retry take + +", "succeeded a+ b+"},
		{"retry of the cancelled", "a b r!", "take + cancel - + retry take + +",
			"succeeded a+ b+ r+"},
		{"retry of the cancelled that had done all", "a b r!", "take + cancel + + retry take + +",
			"succeeded a+ b+ r+"},
		{"retry does what its end has undone", "a b r!", "take + cancel + + retry",
			"queued a+ b r"},
		{"retry runs always-steps again", "a b r!", "take + = + retry", "queued a+ b r"},
		{"retry of a section starts it over", "a [h c r!] z", "take + + = + retry",
			"queued a+ h2 c2 r2 z"},
		{"retry of its first step too", "[h c r!] z", "take = + retry", "queued h2 c r2 z"},
		{"retry behind a section leaves it", "[h c r!] z", "take + + + = retry",
			"queued h+ c+ r+ z"},
		{"retry runs a release that was not needed the first time", "[h c r!]",
			"take + = ~ retry take + =", "running h+2 c-2 r*2"},
		{"retry keeps what was skipped", "a b c", "take = skip:b retry take + +",
			"succeeded a+ b~ c+"},
		{"retry of the succeeded", "a", "take + !retry", "succeeded a+"},
		{"retry of the running", "a", "take !retry", "running a*"},
		{"retry of the failing", "a r!", "take = !retry", "running a- r*"},
		{"retry allows a section its restarts again", "[h c]", "take + < + < + < retry take + <",
			"running h*5 c5"},

		{"retry one step after success", "a b c", "take + + + retry:b take", "running a+ b* c+"},
		{"one step alone", "a b c", "take + + + retry:b take +", "succeeded a+ b+ c+"},
		{"one step alone fails", "a b c r!", "take + + + + retry:b take =", "failed a+ b- c+ r+"},
		{"one step alone fails, retry", "a b c", "take + + + retry:b take = retry take +",
			"succeeded a+ b+ c+"},
		{"one step alone crashes", "a b c", "take + + + retry:b take crash take +",
			"succeeded a+ b+ c+"},
		{"one step alone stops", "a b c", "take + + + retry:b take stop take +",
			"succeeded a+ b+ c+"},
		{"one step alone asks the operator", "a b", "take + + retry:a take ?",
			"action_required a? b+"},
		{"one step alone is cancelled", "a b", "take + + retry:a take cancel -", "cancelled ax b+"},
		{"one always-step alone", "a r!", "take + + retry:r take +", "succeeded a+ r+"},
		{"the failed step alone, others left", "a b c", "take + = retry:b take +",
			"failed a+ b+ c"},
		{"the failed step alone, then the rest", "a b c", "take + = retry:b take + retry take +",
			"succeeded a+ b+ c+"},
		{"a later step alone", "a b c", "take + = retry:c take +", "failed a+ b- c+"},
		{"an earlier step alone", "a b c", "take + = retry:a take +", "failed a+ b- c"},
		{"a section alone after success keeps its keys", "a [h c r!] z",
			"take + + + + + retry:c take + + +", "succeeded a+ h+ c+ r+ z+"},
		{"a section alone after failure", "a [h c r!] z", "take + + = + retry:h take + + +",
			"failed a+ h+2 c+2 r+2 z"},
		{"a section alone fails: released", "[h c r!] s!", "take + + + + retry:h take + = +",
			"failed h+ c- r+ s+"},
		{"a section alone starts over", "[h c r!] z", "take + + + + retry:c take + <",
			"running h*2 c2 r z+"},
		{"a section alone is cancelled", "[h c r!] s!", "take + + + + retry:h take + cancel - +",
			"cancelled h+ cx r+ s+"},
		{"retry of no step", "a", "take + !retry:nope", "succeeded a+"},
		{"retry of a step of the running", "a b", "take + !retry:a", "running a+ b*"},

		{"redo", "a b c", "take + + + redo:b", "queued a+ b2 c2"},
		{"redo runs all after it", "a b c", "take + + + redo:b take + +", "succeeded a+ b+2 c+2"},
		{"redo twice", "a b", "take + + redo:a take + + redo:a", "queued a3 b3"},
		{"redo of a failed job does what is before", "a b c", "take + = redo:c take + +",
			"succeeded a+ b+ c+"},
		{"redo of a section's step", "a [h c] z", "take + + + + redo:c", "queued a+ h2 c2 z2"},
		{"redo behind a section that failed", "[h c r!] z", "take = + redo:z", "queued h2 c r2 z"},
		{"redo undoes a skip", "a b", "take = skip:a take + redo:a", "queued a2 b2"},
		{"redo of the running", "a", "take !redo:a", "running a*"},

		{"skip the failed step", "a b c", "take + = skip:b", "queued a+ b~ c"},
		{"skip the last step", "a b", "take + = skip:b take", "succeeded a+ b~"},
		{"skip for who asks the operator", "a b", "take ? skip:a take +", "succeeded a~ b+"},
		{"skip ahead", "a b c", "take skip:b +", "running a+ b~ c*"},
		{"skip ahead in a failed job", "a b c", "take = skip:c", "failed a- b c~"},
		{"skip in a section that failed", "[h c r!] z", "take + = + skip:c", "queued h+ c~ r+ z"},
		{"skip the running step", "a b", "take !skip:a", "running a* b"},
		{"skip the done step", "a b", "take + !skip:a", "running a+ b*"},
		{"skip in a cancelled job does not start it", "a b", "take cancel - skip:a",
			"cancelled a~ bx"},

		{"skip an always-step ahead", "a r!", "take !skip:r", "running a* r"},
		{"skip an always-step that failed", "a b r!", "take + = = skip:r", "failed a+ b- r~"},

		{"cleanup", "a b / x y", "take + = cleanup", "queued a+ b- | x y"},
		{"cleaned up", "a b / x y", "take + = cleanup take + +", "failed a+ b- | x+ y+"},
		{"cleanup of the cancelled", "a / x", "cancel cleanup take +", "cancelled ax | x+"},
		{"cleanup of who asks the operator", "a / x", "take ? cleanup take +",
			"cancelled a? | x+"},
		{"cleanup crashes", "a / x y", "take = cleanup take crash take + +", "failed a- | x+ y+"},
		{"cleanup fails", "a r! / x y", "take = + cleanup take =", "failed a- r+ | x- y"},
		{"cleanup again", "a / x y", "take cancel - cleanup take = cleanup take + +",
			"cancelled ax | x+ y+"},
		{"cleanup asks the operator", "a / x y", "take = cleanup take ?",
			"action_required a- | x? y"},
		{"cleanup that asked, again", "a / x y", "take = cleanup take ? cleanup take + +",
			"failed a- | x+ y+"},
		{"cleanup that asked, skipped", "a / x y",
			"take = cleanup take ? skip:x cleanup take +", "failed a- | x~ y+"},
		{"cleanup that asked, retry", "a / x", "take = cleanup take ? !retry",
			"action_required a- | x?"},
		{"cleanup that asked, cancelled", "a / x", "take = cleanup take ? cancel",
			"cancelled a- | x?"},
		{"cleanup after a cleanup", "a / x", "take = cleanup take + cleanup take +",
			"failed a- | x+"},
		{"cleanup goes past what was skipped", "a / x y",
			"take = cleanup take = skip:x cleanup take +", "failed a- | x~ y+"},
		{"no retry after a cleanup", "a / x", "take = cleanup take + !retry", "failed a- | x+"},
		{"no retry of a step after a cleanup", "a / x", "take = cleanup take + !retry:a",
			"failed a- | x+"},
		{"no redo from the middle after a cleanup", "a b / x", "take + = cleanup take + !redo:b",
			"failed a+ b- | x+"},
		{"redo from the start after a cleanup", "a b / x",
			"take + = cleanup take + redo:a take + +", "succeeded a+2 b+2 | x2"},
		{"cleanup of the succeeded", "a / x", "take + !cleanup", "succeeded a+"},
		{"cleanup of the running", "a / x", "take !cleanup", "running a*"},
		{"cleanup where there is none", "a", "take = !cleanup", "failed a-"},
		{"cleanup cannot be cancelled", "a / x", "take = cleanup take !cancel", "running a- | x*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, tt.plan)
			for _, word := range strings.Fields(tt.script) {
				s.do(word)
			}
			if got := s.show(); got != tt.want {
				t.Errorf("%s: %s\n got %s\nwant %s", tt.plan, tt.script, got, tt.want)
			}
		})
	}
}
