package ec2lab

import (
	"encoding/base64"

	"gopkg.in/yaml.v3"
)

// cloudInitID is the instance ID of cloud-init's data source None.
const cloudInitID = "iid-datasource-none"

// booted does what cloud-init does at each boot after the first: its EC2 data source asks the
// metadata service for the instance ID, and where that does not answer, cloud-init takes the
// machine for a new one: host keys are made anew, the default user is created again. With
// manual_cache_clean in the user data it trusts what it kept of the last boot.
// https://github.com/canonical/cloud-init: cloudinit/cmd/main.py (existing = "check" or "trust"),
// doc/rtd/explanation/first_boot.rst, and its issue 6270.
func (s *Server) booted(id string) {
	kept := s.state.instance(id)
	if !s.currentBehaviour().CloudInit || kept.Metadata.Endpoint != "disabled" {
		return
	}
	var config struct {
		Trust bool `yaml:"manual_cache_clean"`
	}
	if data, err := base64.StdEncoding.DecodeString(kept.UserData); err == nil {
		_ = yaml.Unmarshal(data, &config) // what cloud-init cannot read it logs
	}
	if !config.Trust {
		kept.CloudInitID = cloudInitID
	}
}

// CloudInitID is what cloud-init on an instance takes for the instance's ID, for tests: another one
// than before makes it a new instance.
func (s *Server) CloudInitID(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changed := s.state.instance(id).CloudInitID; changed != "" {
		return changed
	}
	return id
}
