package ec2lab

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Behaviour are what EC2 does beside what it is asked for. The zero value is an EC2 in the best of
// moods.
type Behaviour struct {
	// Consistency is how long describes do not know of what was made, and show a volume as it was
	// before its attachment.
	Consistency time.Duration
	// Lags are other times for single actions, for each call may be answered by another server: one
	// knows what the next one does not. Amazon speaks of minutes, and wants five of patience.
	// https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
	Lags map[string]time.Duration
	// DeviceDelay is how long after "attached" the device appears on the host.
	DeviceDelay time.Duration
	// ModifyTime is how long a volume is modifying before its new size shows.
	ModifyTime time.Duration
	// OptimizeTime is how long after its modification began a volume is optimizing and takes no
	// other; up to 24 hours.
	OptimizeTime time.Duration
	// PageSize is the most that one page of an answer has; default what is asked for.
	PageSize int
	// Snapshots are the limits of snapshots of one volume; see SnapshotLimits.
	Snapshots SnapshotLimits
	// Denied are the actions that the credentials do not allow.
	Denied []string
	// Access is what the credentials allow, by a policy.
	Access Access
	// Images is what the account's AMIs are like.
	Images Images
	// StuckLetters lets a volume hang in its attachment under a device name that was used before on
	// the instance.
	StuckLetters bool
	// CloudInit lets cloud-init ask the metadata service for the instance ID at each boot.
	CloudInit bool
	// Launches is how launches go wrong.
	Launches Launches
	// Quota is what the account may have.
	Quota Quota
	// Keys is what becomes of volumes that are encrypted.
	Keys Keys
	// Dates is what EC2 makes of the dates of requests.
	Dates Dates
	// Fault is asked before each call; nil: no faults.
	Fault func(action string) Fault
}

// AsAmazon is what EC2 does in each account on each day. What takes its time, and what goes wrong,
// comes on top of it.
func AsAmazon() Behaviour {
	return Behaviour{
		Access:       Access{EndedUntagged: true},
		CloudInit:    true,
		Launches:     Launches{TokensEnd: true},
		Snapshots:    SnapshotLimits{Pace: 15 * time.Second, Pending: true, Leaves: time.Minute},
		StuckLetters: true,
	}
}

// Fault is what goes wrong in one call.
type Fault struct {
	// Refuse is a code that is answered instead of doing anything, such as RequestLimitExceeded,
	// and Message its words.
	Refuse, Message string
	// LoseRequest cuts the connection before anything is done, LoseAnswer after it.
	LoseRequest, LoseAnswer bool
	// Slow is how long what the call begins takes: a volume is creating, a snapshot pending, an
	// attached device not on the host.
	Slow time.Duration
	// Fails is why the volume or the snapshot that the call begins ends in the state error, once it
	// is no longer slow.
	Fails string
}

// ForEver is longer than anybody waits.
const ForEver = 100 * 365 * 24 * time.Hour

// Odds are how many of a hundred calls go wrong in which way.
type Odds struct {
	Throttle, LoseRequest, LoseAnswer, InternalError int
}

// Random makes faults by those odds. The same seed gives the same faults in the same order.
func Random(seed uint64, odds Odds) func(action string) Fault {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, seed))
	return func(string) Fault {
		mu.Lock()
		n := dice.IntN(100)
		mu.Unlock()
		for _, o := range []struct {
			odds  int
			fault Fault
		}{
			{odds.Throttle, Fault{Refuse: "RequestLimitExceeded"}},
			{odds.LoseRequest, Fault{LoseRequest: true}},
			{odds.LoseAnswer, Fault{LoseAnswer: true}},
			{odds.InternalError, Fault{Refuse: "InternalError"}},
		} {
			if n < o.odds {
				return o.fault
			}
			n -= o.odds
		}
		return Fault{}
	}
}
