package workflow

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// jobPlan is a kind of job, free of the engine's transaction type.
type jobPlan struct {
	kind, title string
	steps       []stepPlan
	sections    map[string]job.Section
	cleanup     []stepPlan
}

type stepPlan struct {
	kind, title string
	handle      handler
	section     string
	always      bool
	timeout     time.Duration
	attempt     time.Duration
	attempts    int
	backoff     job.Backoff
}

const (
	holdSection = "hold"
	longest     = 24 * time.Hour // of steps that depend on how much data there is
	patient     = 12             // attempts of steps that ask much of the provider
)

func (w *Workflow) plans() []jobPlan {
	plans := []jobPlan{primaryPlan(), snapshotPlan(), replicaPlan(), deleteServerPlan(),
		deleteSnapshotPlan()}
	for i := range plans {
		plans[i] = w.patiently(plans[i])
	}
	return plans
}

func snapshotPlan() jobPlan {
	return jobPlan{
		kind: KindTakeSnapshot, title: "take a consistent snapshot", sections: holdLimits(),
		steps:   append(snapshotSteps(), settleStep((*step).settleSnapshot)),
		cleanup: []stepPlan{removeSnapshotStep(), releaseStep()},
	}
}

func holdLimits() map[string]job.Section { return map[string]job.Section{holdSection: {Attempts: 4}} }

// snapshotSteps take a snapshot; they are the same in a job of their own and in a replica's.
func snapshotSteps() []stepPlan {
	return []stepPlan{
		{kind: "check_primary",
			title: "the source can be copied: it answers, has its binary log on and one data volume", handle: (*step).checkPrimary},
		{kind: "reserve_binlogs", title: "binary logs from here on are kept",
			handle: (*step).reserveBinlogs},
		{kind: "hold", title: "a consistent point is held: commits blocked, filesystem frozen",
			handle: (*step).hold, section: holdSection,
			timeout: 15 * time.Minute, attempt: 12 * time.Minute, attempts: 4,
			backoff: job.Backoff{First: 2 * time.Second, Max: 10 * time.Second}},
		{kind: "cut", title: "the provider has begun the snapshot", handle: (*step).cut,
			section: holdSection,
			timeout: 5 * time.Minute, attempt: 30 * time.Second,
			backoff: job.Backoff{First: 50 * time.Millisecond, Max: time.Second}},
		{kind: "release",
			title:   "the point was held until after the cut, and the source takes writes again",
			handle:  (*step).release,
			section: holdSection, always: true, timeout: 10 * time.Minute,
			attempt: 2 * time.Minute},
		// Of the section too: when the job ends before, what was cut is deleted, so a retry has to
		// hold and cut again.
		{kind: "await_ready", title: "the provider has completed the snapshot",
			handle: (*step).awaitReady, section: holdSection, timeout: longest},
	}
}

func settleStep(h handler) stepPlan {
	return stepPlan{kind: "settle", title: "nothing of this job holds the source up any more",
		handle: h, always: true, timeout: 5 * time.Minute}
}

// machineSteps make a host with a data volume of its own.
func machineSteps(volume string) []stepPlan {
	return []stepPlan{
		{kind: "create_machine", title: "a machine from the image runs",
			handle: (*step).createMachine, timeout: 15 * time.Minute, attempts: patient},
		{kind: "await_agent", title: "the machine's own agent has enrolled and answers",
			handle: (*step).awaitAgent, timeout: 15 * time.Minute},
		{kind: "swap_volume", title: volume, handle: (*step).swapVolume, timeout: 30 * time.Minute,
			attempt: 5 * time.Minute, attempts: patient},
	}
}

func primaryPlan() jobPlan {
	steps := []stepPlan{{kind: "plan", title: "the request can be met; the server_id is allotted",
		handle: (*step).planPrimary}}
	steps = append(steps,
		machineSteps("the image's default data volume is gone, a blank volume is attached")...)
	steps = append(steps,
		stepPlan{kind: "format_volume", title: "the blank volume has a filesystem",
			handle: (*step).formatVolume, attempt: 10 * time.Minute, timeout: 30 * time.Minute},
		stepPlan{kind: "mount_data", title: "the data volume is mounted, now and after a reboot",
			handle: (*step).mountData, attempt: 10 * time.Minute, timeout: time.Hour},
		stepPlan{kind: "configure_mariadb", title: "MariaDB has our settings",
			handle: (*step).configureMariaDB},
		stepPlan{kind: "initialize_datadir", title: "the datadir is made",
			handle: (*step).initializeDatadir, attempt: 5 * time.Minute},
		stepPlan{kind: "start_mariadb", title: "MariaDB is up and ready",
			handle: (*step).startMariaDB, attempt: time.Hour, timeout: 2 * time.Hour},
		stepPlan{kind: "finish", title: "the primary takes writes and is READY",
			handle: (*step).finishPrimary},
		settleStep((*step).settlePrimary),
	)
	return jobPlan{kind: KindCreatePrimary, title: "make a primary", steps: steps,
		cleanup: removeServerSteps()}
}

func replicaPlan() jobPlan {
	steps := []stepPlan{{kind: "plan", title: "the request can be met; the server_id is allotted",
		handle: (*step).planReplica}}
	for _, s := range snapshotSteps() {
		s.handle = unlessGiven(s.handle)
		steps = append(steps, s)
	}
	steps = append(steps,
		machineSteps(
			"the image's default data volume is gone, a volume from the snapshot is attached")...)
	steps = append(steps, replicaSteps()...)
	steps = append(steps, settleStep((*step).settleReplica))
	return jobPlan{
		kind: KindCreateReplica, title: "make a verified replica", steps: steps,
		sections: holdLimits(),
		cleanup:  append([]stepPlan{removeSnapshotStep(), releaseStep()}, removeServerSteps()...),
	}
}

func replicaSteps() []stepPlan {
	return []stepPlan{
		{kind: "mount_data",
			title:  "the copy is mounted, now and after a reboot, and is the one that was taken",
			handle: (*step).mountData, attempt: time.Hour, timeout: 3 * time.Hour},
		{kind: "configure_mariadb", title: "MariaDB has our settings and nothing of the source's",
			handle: (*step).configureMariaDB},
		{kind: "start_mariadb", title: "MariaDB is up, ready, and at the recorded position",
			handle: (*step).startMariaDB, attempt: 6 * time.Hour, timeout: longest},
		{kind: "upgrade_mariadb", title: "datadir and binary are of one series",
			handle: (*step).upgradeMariaDB, attempt: 2 * time.Hour, timeout: 6 * time.Hour,
			// Debian's start script may be at it too
			attempts: patient, backoff: job.Backoff{First: time.Second}},
		{kind: "prepare_replica",
			title:  "nothing of the source's replication is left; the replica has its account",
			handle: (*step).prepareReplica},
		{kind: "configure_replica", title: "the connection to the primary is set up: GTID, TLS",
			handle: (*step).configureReplica, attempt: 10 * time.Minute},
		{kind: "start_replica", title: "both replication threads run", handle: (*step).startReplica,
			attempt: 3 * time.Minute, timeout: 15 * time.Minute},
		{kind: "catch_up",
			title:  "a fence taken on the primary after replication started is passed",
			handle: (*step).catchUp, attempt: longest, timeout: 2 * longest, attempts: 10},
		{kind: "verify", title: "the data was compared to the level asked for",
			handle: (*step).verify, attempt: longest, timeout: 2 * longest, attempts: 4},
		{kind: "finish",
			title:  "replication starts by itself, all invariants hold, the replica is READY",
			handle: (*step).finishReplica, attempt: 5 * time.Minute},
	}
}
