package ec2lab

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Account is the account that the lab plays.
const Account = accountID

const identityPath = "dynamic/instance-identity/"

// MetadataService is that of all instances: it knows by its address which of them asks. It
// has sessions (IMDSv2), what EC2 signs about an instance, and what cloud-init asks for.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
func (s *Server) MetadataService() http.Handler { return http.HandlerFunc(s.serveMetadata) }

func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, kept, found := s.asking(r)
	if !found || kept.Metadata.Endpoint == "disabled" {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	session, shown := digest("session of "+m.ID), r.Header.Get("X-aws-ec2-metadata-token")
	body, status := []byte(session), http.StatusOK
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		if r.Header.Get("X-Forwarded-For") != "" {
			status = http.StatusForbidden
		} else if r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
			status = http.StatusBadRequest
		}
	case shown != session && (kept.Metadata.Tokens != "optional" || shown != ""):
		status = http.StatusUnauthorized
	default:
		body, status = s.metadataOf(m, kept, r.URL.Path)
	}
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(body) // who asked asks again
}

// asking is the machine that a request comes from.
func (s *Server) asking(r *http.Request) (provider.Machine, *instanceState, bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return provider.Machine{}, nil, false
	}
	machines, err := s.cfg.Lab.ListMachines(r.Context(), provider.Filter{})
	if err != nil {
		s.cfg.Log.Error("cannot list machines", "error", err)
	}
	for _, m := range machines {
		if m.Address == host && m.State != provider.MachineTerminated {
			return m, s.state.instance(ec2ID(m.ID)), true
		}
	}
	return provider.Machine{}, nil, false
}

func (s *Server) metadataOf(m provider.Machine, kept *instanceState,
	path string) (body []byte, status int) {
	document, err := identityDocument(m, kept)
	_, item, versioned := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if text, is := metadataItems(m, kept)[strings.TrimSuffix(item, "/")]; is && versioned {
		return []byte(text), http.StatusOK
	}
	switch {
	case err != nil:
	case item == identityPath+"document":
		return document, http.StatusOK
	case item == identityPath+"rsa2048":
		var signed []byte
		if signed, err = s.signed(document); err == nil {
			return lined(signed), http.StatusOK
		}
	default:
		return nil, http.StatusNotFound
	}
	s.cfg.Log.Error("cannot answer for an instance", "instance", m.ID, "error", err)
	return nil, http.StatusInternalServerError
}

// metadataItems are texts about an instance by their path below that of a version.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html
func metadataItems(m provider.Machine, kept *instanceState) map[string]string {
	items := map[string]string{
		"meta-data": "ami-id\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\n" +
			"placement/",
		"meta-data/ami-id":                      kept.Image,
		"meta-data/instance-id":                 ec2ID(m.ID),
		"meta-data/instance-type":               kept.InstanceType,
		"meta-data/local-hostname":              defaultHost + "." + Region + ".compute.internal",
		"meta-data/local-ipv4":                  m.Address,
		"meta-data/placement":                   "availability-zone",
		"meta-data/placement/availability-zone": m.Zone,
		"dynamic":                               "instance-identity/",
		"dynamic/instance-identity":             "document\nrsa2048",
	}
	if data, err := base64.StdEncoding.DecodeString(kept.UserData); err == nil && len(data) > 0 {
		items["user-data"] = string(data)
	}
	return items
}

// identityDocument is that of an instance: pendingTime is that of its launch, or of its start after
// a stop; a reboot does not change it.
func identityDocument(m provider.Machine, kept *instanceState) ([]byte, error) {
	started := m.CreatedAt
	if !kept.Started.IsZero() {
		started = kept.Started
	}
	return json.MarshalIndent(map[string]any{
		"accountId": accountID, "architecture": "x86_64", "availabilityZone": m.Zone,
		"billingProducts": nil, "devpayProductCodes": nil, "marketplaceProductCodes": nil,
		"imageId": kept.Image, "instanceId": ec2ID(m.ID), "instanceType": kept.InstanceType,
		"kernelId": nil, "pendingTime": started.UTC().Format(time.RFC3339), "privateIp": m.Address,
		"ramdiskId": nil, "region": Region, "version": "2017-09-30",
	}, "", "  ")
}

// lined is base64 in lines of 64, without a line before and after it, as EC2 answers.
func lined(der []byte) []byte {
	text := base64.StdEncoding.EncodeToString(der)
	var lines []string
	for ; len(text) > 64; text = text[64:] {
		lines = append(lines, text[:64])
	}
	return []byte(strings.Join(append(lines, text), "\n"))
}
