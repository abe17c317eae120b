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

// Skips is the finding that a replica leaves transactions out which bear its server_id, as its
// primary's status shows; since is the position at which its data was compared last.
func Skips(replica, primary string, serverID uint32, primarys Status, since string) []Finding {
	left := LeftOut(serverID, primarys, since)
	if left == "" {
		return nil
	}
	var all findings
	all.add(true, ReplicationIDTaken, "it leaves out transactions of %s that bear its own "+
		"server_id, %d: up to %s", primary, serverID, left)
	all.unproves(true)
	all.helps(AnotherID(replica, primary))
	return all
}

// AnotherID is the hint for a replica that leaves out what bears its server_id. A copy has these,
// and under that server_id they count as its own.
func AnotherID(replica, primary string) errs.Hint {
	return errs.Hint{Text: "end on " + primary + " what writes under that server_id, such as " +
		"mariadb-binlog that replays a binary log of " + replica + "; then delete " + replica +
		" and create another replica: it gets a server_id that " + primary + " has not logged",
		Actions: []errs.Action{errs.Call("DeleteServer", "name", "servers/"+replica)}}
}
