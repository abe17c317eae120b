package ec2lab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// FaultsPath is where planned faults are put (PUT), and looked at with how often each has struck
// (GET), as a list of Planned.
const FaultsPath = "/lab/faults"

// Planned is a fault that strikes the next calls of an action.
type Planned struct {
	// Action is the call that it strikes; empty: every call.
	Action string `json:"action,omitempty"`
	// Times is how many calls it strikes; 0: all of them until other faults are put.
	Times int `json:"times,omitempty"`
	// Struck is how many it has struck.
	Struck int `json:"struck"`
	// Refuse is a code that is answered instead of doing anything, with Message.
	Refuse  string `json:"refuse,omitempty"`
	Message string `json:"message,omitempty"`
	// LoseRequest and LoseAnswer cut the connection before or after the effect.
	LoseRequest bool `json:"lose_request,omitempty"`
	LoseAnswer  bool `json:"lose_answer,omitempty"`
	// Slow is how many seconds what the call begins takes: a volume is creating, a snapshot
	// pending, an attached device not on the host.
	Slow float64 `json:"slow,omitempty"`
	// Fails is why the volume or the snapshot that the call begins ends in the state error.
	Fails string `json:"fails,omitempty"`
}

func (p *Planned) fault() Fault {
	return Fault{Refuse: p.Refuse, Message: p.Message, LoseRequest: p.LoseRequest,
		LoseAnswer: p.LoseAnswer,
		Slow:       time.Duration(p.Slow * float64(time.Second)), Fails: p.Fails}
}

// plan are the planned faults.
type plan struct {
	mu     sync.Mutex
	faults []Planned
}

// next is the first planned fault that strikes a call of the action.
func (p *plan) next(action string) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.faults {
		f := &p.faults[i]
		if (f.Action == "" || f.Action == action) && (f.Times == 0 || f.Struck < f.Times) {
			f.Struck++
			return f.fault(), true
		}
	}
	return Fault{}, false
}

func (p *plan) put(faults []Planned) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// servePlan answers a call of FaultsPath.
func (s *Server) servePlan(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPut:
		faults, err := s.readPlan(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.plan.put(faults)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet:
		s.plan.mu.Lock()
		defer s.plan.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.plan.faults) // who went away does not need it
	default:
		http.Error(w, "PUT or GET", http.StatusMethodNotAllowed)
	}
}

func (s *Server) readPlan(r *http.Request) ([]Planned, error) {
	var faults []Planned
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&faults); err != nil {
		return nil, err
	}
	for _, f := range faults {
		if _, known := s.operations[f.Action]; f.Action != "" && !known {
			return nil, fmt.Errorf("no call is named %q", f.Action)
		}
	}
	return faults, nil
}
