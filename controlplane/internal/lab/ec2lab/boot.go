package ec2lab

import (
	"bytes"
	"encoding/base64"
	"maps"
	"path"

	"gopkg.in/yaml.v3"
)

const (
	maxUserData = 16 << 10
	joinPath    = "/etc/understudy-agent/join.json"
	// cloudInitID is the instance ID of cloud-init's data source None.
	cloudInitID = "iid-datasource-none"
)

// Booted is what cloud-init made of a boot.
type Booted struct {
	// ID is what it takes for the instance's ID.
	ID string
	// Host is the host name, Join the join file that it wrote, if any.
	Host, Join string
	// New says that it did what it does once for each instance: it made host keys, and the default
	// user.
	New bool
}

// cloudInit is what cloud-init has on a root filesystem: the instance of the last boot with its
// user data, the instances that it has done its work for, and whether it trusts that.
type cloudInit struct {
	ID, Host string
	UserData string
	Done     map[string]bool
	Trust    bool
}

// boot does what cloud-init does at a boot, with the little of it that is needed. Its EC2 data
// source asks the metadata service for the instance ID, and where that does not answer, cloud-init
// takes the machine for a new one. With manual_cache_clean it trusts what it kept of the last boot,
// and asks nobody. TestLongRealCloudInit holds this to the program.
// https://github.com/canonical/cloud-init: cloudinit/cmd/main.py (existing = "check" or "trust"),
// doc/rtd/explanation/first_boot.rst, and its issue 6270.
func (c *cloudInit) boot(id, userData string, answers bool) Booted {
	switch {
	case c.Trust && c.ID != "":
	case answers:
		c.ID, c.UserData = id, userData
	default:
		c.ID, c.UserData = cloudInitID, ""
	}
	config := readUserData(c.UserData)
	b := Booted{ID: c.ID, New: !c.Done[c.ID]}
	if b.New {
		c.Done = maps.Clone(c.Done)
		if c.Done == nil {
			c.Done = map[string]bool{}
		}
		c.Done[c.ID] = true
		c.Trust = c.Trust || config.trust()
		b.Join = config.join()
	}
	if config.Hostname != "" {
		c.Host = config.Hostname
	}
	b.Host = c.Host
	return b
}

// cloudConfig is what is needed of user data.
type cloudConfig struct {
	Hostname   string
	WriteFiles []struct {
		Path, Owner, Permissions, Encoding, Content string
	} `yaml:"write_files"`
}

// readUserData reads what checkUserData has passed.
func readUserData(encoded string) cloudConfig {
	var config cloudConfig
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil && bytes.HasPrefix(data, []byte("#cloud-config\n")) {
		_ = yaml.Unmarshal(data, &config) // what cloud-init cannot read it logs, and boots
	}
	return config
}

// join is the join file, if the user data have one that the agent takes.
func (c cloudConfig) join() string {
	for _, f := range c.WriteFiles {
		if f.Path == joinPath && f.Permissions == "0600" && f.Owner == "root:root" &&
			f.Encoding == "b64" {
			content, _ := base64.StdEncoding.DecodeString(f.Content) // as above
			return string(content)
		}
	}
	return ""
}

// trust says that the user data set manual_cache_clean where cloud-init looks for it. It finds it
// among the user data too, but calls them invalid then.
func (c cloudConfig) trust() bool {
	for _, f := range c.WriteFiles {
		var settings struct {
			Trust bool `yaml:"manual_cache_clean"`
		}
		if in, _ := path.Match("/etc/cloud/cloud.cfg.d/*.cfg", f.Path); in && f.Encoding == "" {
			_ = yaml.Unmarshal([]byte(f.Content), &settings) // as above
		}
		if settings.Trust {
			return true
		}
	}
	return false
}

func checkUserData(encoded string) error {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return refuse("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	}
	if len(data) > maxUserData {
		return refuse("InvalidParameterValue", "User data is limited to 16384 bytes")
	}
	return nil
}

// booted boots an instance in the model.
func (s *Server) booted(id string) {
	i := s.state.instance(id)
	answers := i.Metadata.Endpoint != "disabled" || !s.currentBehaviour().CloudInit
	i.Booted = i.Root.boot(id, i.UserData, answers)
}

// Booted is what cloud-init made of an instance's last boot, for tests.
func (s *Server) Booted(id string) Booted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.instance(id).Booted
}

// CopyRoot gives an instance the root filesystem of another one, as if it were of an AMI that was
// made of that one, for tests. With clean, `cloud-init clean` was run before.
func (s *Server) CopyRoot(to, from string, clean bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root := s.state.instance(from).Root
	if clean {
		root = cloudInit{Host: root.Host, Trust: root.Trust}
	}
	s.state.instance(to).Root = root
}
