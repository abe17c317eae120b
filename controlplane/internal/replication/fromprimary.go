package replication

// FromPrimary are the reasons why a replica may not have what its primary has that the primary's
// status shows, as it answered last.
func FromPrimary(replica, primary string, its, primarys Status) []Finding {
	var all findings
	if other := OtherZone(its, primarys); other != "" {
		all.add(true, LossySettings, "%s", other)
		all.unproves(true)
		all.helps(OneZone(replica, primary))
	}
	return all
}
