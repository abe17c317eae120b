package ec2lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/uuid"
)

// The region that the lab plays, and the keys that it takes; the secrets may be anything. AccessKey
// may do what the behaviour's Access allows, and AdminKey everything: others work in the account
// too, and no policy of the control plane's is theirs.
const (
	Region    = "eu-lab-1"
	AccessKey = "AKIALABLABLABLABLAB1"
	AdminKey  = "AKIALABLABLABADMIN01"
)

// Zones are the lab's availability zones, for nspawn.Config.
func Zones() []string { return []string{Region + "a", Region + "b"} }

const apiVersion = "2016-11-15"

// Config is what the endpoint stands in front of.
type Config struct {
	// Lab makes the machines. One of nspawn has Zones and DevicePattern of this package. Required.
	Lab Lab
	// StateFile keeps what EC2 knows beyond the lab, over restarts; empty: in memory alone.
	StateFile string
	// Behaviour may be changed later by SetBehaviour.
	Behaviour Behaviour
	// Log gets a line a call; default none.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Server is the endpoint, an http.Handler.
type Server struct {
	cfg        Config
	operations map[string]operation

	plan      plan
	behaviour sync.RWMutex
	mu        sync.Mutex // one call at a time: the lab itself has one lock
	acting    string     // the call's action
	admin     bool       // whose caller may do everything
	state     *state
}

type operation struct {
	model  *model
	handle func(ctx context.Context, in any) (any, error)
}

// New learns the calls from the SDK and reads the state file.
func New(cfg Config) (*Server, error) {
	if cfg.Lab == nil {
		return nil, errors.New("cannot make an EC2 endpoint: a lab is needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	kept, err := loadState(cfg.StateFile)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, state: kept, operations: map[string]operation{}}
	if err := s.learnAll(); err != nil {
		return nil, err
	}
	for action := range cfg.Behaviour.Lags {
		if _, known := s.operations[action]; !known {
			return nil, fmt.Errorf("no call is named %q", action)
		}
	}
	return s, nil
}

// SetBehaviour changes them while the endpoint serves.
func (s *Server) SetBehaviour(m Behaviour) {
	s.behaviour.Lock()
	defer s.behaviour.Unlock()
	s.cfg.Behaviour = m
}

func (s *Server) currentBehaviour() Behaviour {
	s.behaviour.RLock()
	defer s.behaviour.RUnlock()
	return s.cfg.Behaviour
}

func (s *Server) learnAll() error {
	return errors.Join(
		serve(s, "RunInstances", (*ec2.Client).RunInstances, s.runInstances),
		serve(s, "DescribeInstanceTypes", (*ec2.Client).DescribeInstanceTypes,
			s.describeInstanceTypes),
		serve(s, "DescribeInstances", (*ec2.Client).DescribeInstances, s.describeInstances),
		serve(s, "StartInstances", (*ec2.Client).StartInstances, s.startInstances),
		serve(s, "StopInstances", (*ec2.Client).StopInstances, s.stopInstances),
		serve(s, "RebootInstances", (*ec2.Client).RebootInstances, s.rebootInstances),
		serve(s, "TerminateInstances", (*ec2.Client).TerminateInstances, s.terminateInstances),
		serve(s, "ModifyInstanceMetadataOptions", (*ec2.Client).ModifyInstanceMetadataOptions,
			s.modifyMetadata),
		serve(s, "DescribeImages", (*ec2.Client).DescribeImages, s.describeImages),
		serve(s, "DescribeAvailabilityZones", (*ec2.Client).DescribeAvailabilityZones,
			s.describeZones),
		serve(s, "CreateTags", (*ec2.Client).CreateTags, s.createTags),
		serve(s, "CreateVolume", (*ec2.Client).CreateVolume, s.createVolume),
		serve(s, "DescribeVolumes", (*ec2.Client).DescribeVolumes, s.describeVolumes),
		serve(s, "AttachVolume", (*ec2.Client).AttachVolume, s.attachVolume),
		serve(s, "DetachVolume", (*ec2.Client).DetachVolume, s.detachVolume),
		serve(s, "DeleteVolume", (*ec2.Client).DeleteVolume, s.deleteVolume),
		serve(s, "ModifyVolume", (*ec2.Client).ModifyVolume, s.modifyVolume),
		serve(s, "DescribeVolumesModifications", (*ec2.Client).DescribeVolumesModifications,
			s.describeModifications),
		serve(s, "CreateSnapshot", (*ec2.Client).CreateSnapshot, s.createSnapshot),
		serve(s, "DescribeSnapshots", (*ec2.Client).DescribeSnapshots, s.describeSnapshots),
		serve(s, "DeleteSnapshot", (*ec2.Client).DeleteSnapshot, s.deleteSnapshot),
	)
}

func serve[I, O any](s *Server, action string, send func(*ec2.Client, context.Context, *I,
	...func(*ec2.Options)) (*O, error),
	handle func(context.Context, *I) (*O, error)) error {
	m, err := learn(reflect.TypeFor[I](), func(c *ec2.Client, ctx context.Context, in any) error {
		_, err := send(c, ctx, in.(*I))
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot learn %s from the SDK: %w", action, err)
	}
	s.operations[action] = operation{m,
		func(ctx context.Context, in any) (any, error) { return handle(ctx, in.(*I)) }}
	return nil
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=(` + AccessKey + `|` +
	AdminKey + `)/\d{8}/` + Region + `/ec2/aws4_request, ` +
	`SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$`)

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == FaultsPath {
		s.servePlan(w, r)
		return
	}
	requestID := uuid.NewString()
	w.Header().Set("Date", s.time().UTC().Format(http.TimeFormat))
	if err := r.ParseForm(); err != nil {
		s.answerRefusal(w, requestID, "", refuse("MalformedQueryString", "%v", err))
		return
	}
	action := r.PostForm.Get("Action")
	fault := s.nextFault(action)
	if fault.LoseRequest {
		s.cfg.Log.Info("lost the request", "action", action)
		cut(w)
		return
	}
	out, err := s.call(context.WithValue(r.Context(), faultKey{}, fault), r, action, fault)
	if fault.LoseAnswer {
		s.cfg.Log.Info("lost the answer", "action", action, "error", err)
		cut(w)
		return
	}
	if err != nil {
		s.answerRefusal(w, requestID, action, err)
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	if err := writeAnswer(w, action, requestID, out); err != nil {
		s.cfg.Log.Error("cannot write an answer", "action", action, "error", err)
		cut(w)
	}
}

// nextFault is what goes wrong in this call: what is planned, or else what the behaviour have.
func (s *Server) nextFault(action string) Fault {
	if fault, planned := s.plan.next(action); planned {
		return fault
	}
	if f := s.currentBehaviour().Fault; f != nil {
		return f(action)
	}
	return Fault{}
}

type faultKey struct{}

func faultOf(ctx context.Context) Fault {
	f, _ := ctx.Value(faultKey{}).(Fault)
	return f
}

func (s *Server) call(ctx context.Context, r *http.Request, action string,
	fault Fault) (any, error) {
	op, known := s.operations[action]
	signed := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if err := s.checkDate(r); err != nil {
		return nil, err
	}
	switch {
	case signed == nil:
		return nil, refuse("AuthFailure",
			"AWS was not able to validate the provided access credentials")
	case !known || r.PostForm.Get("Version") != apiVersion:
		return nil, refuse("InvalidAction", "The action %s is not valid for this web service.",
			action)
	case fault.Refuse != "":
		return nil, refuse(fault.Refuse, "%s",
			cmp.Or(fault.Message, "Request limit exceeded, or whatever the fault is."))
	}
	form := r.PostForm
	form.Del("Action")
	form.Del("Version")
	in, err := op.model.decode(form)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acting, s.admin = action, signed[1] == AdminKey
	if err := s.authorized(ctx, action, in); err != nil {
		return nil, err
	}
	if dry, ok := reflect.ValueOf(in).Elem().FieldByName("DryRun").Interface().(*bool); ok &&
		dry != nil && *dry {
		return nil, refuse("DryRunOperation",
			"Request would have succeeded, but DryRun flag is set.")
	}
	out, err := op.handle(context.WithoutCancel(ctx), in)
	return out, errors.Join(err, s.state.save())
}

func (s *Server) answerRefusal(w http.ResponseWriter, requestID, action string, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		s.cfg.Log.Error("call failed", "action", action, "error", err)
		r = refuse("InternalError", "An internal error has occurred")
	}
	s.cfg.Log.Info("refused", "action", action, "code", r.code, "message", r.message)
	w.WriteHeader(r.status())
	writeRefusal(w, requestID, r)
}

// cut ends the connection as a network does.
func cut(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}
