"""Write what decides where a pod's traffic goes into one file."""
