package replication

import "github.com/understudy-db/understudy/proto/rpc/errs"

// FromPrimary are the reasons why a replica may not have what its primary has that the primary's
// status shows, as it answered last.
func FromPrimary(replica, primary string, its, primarys Status) []Finding {
	var all findings
	for _, u := range Unlikes(replica, primary, its, primarys) {
		all.add(true, LossySettings, "%s", u.Text)
		all.unproves(true)
		all.helps(u.Hint)
	}
	for _, lossy := range LogLosses(primarys) {
		if lossy == RemovedLog(primarys) {
			continue // who has not read it is refused, and says so
		}
		all.add(true, LossySettings, "its primary does not log its changes as they are: %s", lossy)
		all.unproves(true)
		all.helps(errs.Hint{Text: "take the setting away on " + primary + ", then verify what " +
			"it left out", Actions: []errs.Action{errs.Call("VerifyReplica", "name",
			"servers/"+replica, "level", "VERIFY_LEVEL_FULL")}})
	}
	return all
}
